import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxsed.augment import pipeline
from jaxsed.errors import InputError

KEY = jax.random.key(21)
EVERYTHING = {
    **pipeline.TEACHER,
    "time_mask_probability": 0.5,
    "specaugment_probability": 1.0,
    "noise_probability": 0.5,
    "gain_probability": 0.5,
}


@functools.cache
def jitted(name, items):
    function = {"mel": pipeline.augment_mel, "wave": pipeline.augment_wave}[name]
    return jax.jit(lambda key, batch: function(key, batch, dict(items)))


def augment(name, key, batch, config):
    return jitted(name, tuple(sorted(config.items())))(key, batch)


def random_batch(n_clips=8, n_labels=20, n_bins=24):
    rng = np.random.default_rng(0)
    frames = (n_clips, n_labels, 3)
    return {
        "mel": rng.standard_normal((n_clips, 4 * n_labels + 1, n_bins)).astype("f4"),
        "labels": rng.integers(0, 2, frames).astype("f4"),
        "clip_labels": rng.integers(0, 2, (n_clips, 3)).astype("f4"),
        "teacher": rng.random(frames).astype("f4"),
        "teacher_valid": np.arange(n_clips) % 3 > 0,
        "index": np.arange(n_clips),
    }


def wave_batch(n_clips=8, n_samples=400):
    batch = random_batch(n_clips)
    rng = np.random.default_rng(1)
    batch["audio"] = 0.1 * rng.standard_normal((n_clips, n_samples)).astype("f4")
    del batch["mel"]
    return batch


def assert_close(one, other):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=2e-5)


def test_nothing_is_traced_at_probability_zero():
    batch = random_batch()
    for config in ({}, pipeline.DEFAULTS, {"mixup_probability": 0}):
        assert pipeline.augment_mel(KEY, batch, config) is batch
        assert pipeline.augment_wave(KEY, {"audio": 1, **batch}, config)["audio"] == 1
    jaxpr = jax.make_jaxpr(lambda k: pipeline.augment_mel(k, batch, {}))(KEY)
    assert not jaxpr.eqns


def test_student_changes_sound_by_mixup_alone():
    batch = random_batch()
    names = [n for n in pipeline.STUDENT if n.endswith("_probability")]
    active = {n for n in names if pipeline.STUDENT[n] > 0}
    assert active == {"wave_mixup_probability", "mixup_probability"}
    once = augment("mel", KEY, batch, pipeline.STUDENT)
    only = {"mixup_probability": pipeline.STUDENT["mixup_probability"]}
    assert_close(once, augment("mel", KEY, batch, only))


def test_teacher_changes_everything_and_stays_finite_and_in_range():
    batch = random_batch()
    augmented = augment("mel", KEY, batch, EVERYTHING)
    assert set(augmented) == set(batch)
    for name in ("mel", "labels", "teacher"):
        assert augmented[name].shape == batch[name].shape
        assert augmented[name].dtype == np.float32
        assert np.isfinite(augmented[name]).all()
        assert not np.array_equal(augmented[name], batch[name])
    for name in ("labels", "clip_labels", "teacher"):
        assert augmented[name].min() >= 0 and augmented[name].max() <= 1
    assert np.array_equal(augmented["index"], batch["index"])


def test_same_key_same_result_and_other_key_another():
    batch = random_batch()
    one = augment("mel", KEY, batch, EVERYTHING)
    again = augment("mel", KEY, batch, EVERYTHING)
    other = augment("mel", jax.random.key(22), batch, EVERYTHING)
    for name in one:
        assert np.array_equal(one[name], again[name])
    assert not np.array_equal(one["mel"], other["mel"])


def test_switching_one_augmentation_on_leaves_the_draws_of_the_others():
    batch = random_batch()
    roll = {"time_roll_probability": 1.0}
    plain = augment("mel", KEY, batch, roll)
    more = augment("mel", KEY, batch, {**roll, "filter_probability": 1.0})
    assert np.array_equal(plain["labels"], more["labels"])
    assert not np.array_equal(plain["mel"], more["mel"])


def test_an_example_does_not_depend_on_the_batch_size():
    # Mixup looks 2 places on, MixStyle 3: examples 0 and 1 of 8 never see the last.
    batch = random_batch(8)
    short = {name: array[:7] for name, array in batch.items()}
    one = augment("mel", KEY, batch, EVERYTHING)
    other = augment("mel", KEY, short, EVERYTHING)
    assert_close(
        {n: a[:2] for n, a in one.items()}, {n: a[:2] for n, a in other.items()}
    )


@pytest.mark.skipif(jax.device_count() < 4, reason="needs several (fake) devices")
@pytest.mark.parametrize(
    "config",
    [EVERYTHING, {"mixup_probability": 1.0, "partner": "permutation"}],
    ids=["everything", "permutation"],
)
def test_an_example_does_not_depend_on_its_device(config):
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    for name, batch in (("mel", random_batch()), ("wave", wave_batch())):
        whole = augment(name, KEY, batch, config)
        parts = augment(name, KEY, jax.device_put(batch, split), config)
        assert_close(parts, whole)


@pytest.mark.skipif(jax.device_count() < 4, reason="needs several (fake) devices")
def test_neighbours_keep_the_batch_where_it_is():
    """No device fetches another's clips, but for the few at the border."""
    config = {"mixup_probability": 1.0, "mixstyle_probability": 1.0}
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    batch = jax.device_put(random_batch(16), split)
    for partner, gathers in (("neighbour", False), ("permutation", True)):
        lowered = jax.jit(
            lambda key, batch, p=partner: pipeline.augment_mel(
                key, batch, {**config, "partner": p}
            ),
            out_shardings=split,
        ).lower(KEY, batch)
        program = lowered.compile().as_text()
        assert ("all-gather" in program or "all-reduce" in program) == gathers


def test_waveforms_and_their_targets_are_mixed_together():
    batch = wave_batch()
    mixed = augment("wave", KEY, batch, {"wave_mixup_probability": 0.5})
    changed = np.any(np.asarray(mixed["audio"]) != batch["audio"], axis=1)
    targets_changed = np.any(np.asarray(mixed["teacher"]) != batch["teacher"], (1, 2))
    assert np.array_equal(changed, targets_changed)
    assert changed.any() and not changed.all()
    np.testing.assert_allclose(mixed["audio"][changed].mean(axis=1), 0, atol=1e-7)


@pytest.mark.parametrize("name", ["mel", "wave"])
@pytest.mark.parametrize("config", [EVERYTHING, pipeline.RELEASED_TEACHER])
def test_silence_stays_finite(name, config):
    batch = random_batch() if name == "mel" else wave_batch()
    sound = "mel" if name == "mel" else "audio"
    batch[sound] = np.full_like(batch[sound], 0.0 if name == "wave" else -1.2)
    augmented = augment(name, KEY, batch, config)
    assert all(np.isfinite(array).all() for array in augmented.values())


def test_gradient_reaches_the_sound():
    batch = {name: jnp.asarray(array) for name, array in random_batch().items()}

    config = {"mixstyle_probability": 0.5, "warp_probability": 0.5}

    def total(mel):
        augmented = pipeline.augment_mel(KEY, {**batch, "mel": mel}, config)
        return jnp.square(augmented["mel"]).sum()

    gradient = jax.jit(jax.grad(total))(batch["mel"])
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=(1, 2)) > 0).all()


def test_batches_without_frame_targets_are_fine():
    batch = random_batch()
    batch = {name: batch[name] for name in ("mel", "clip_labels")}
    in_time = {"time_roll_probability": 1.0, "time_mask_probability": 1.0}
    augmented = augment("mel", KEY, batch, in_time)
    assert set(augmented) == {"mel", "clip_labels"}


def test_unknown_setting_names_the_nearest():
    with pytest.raises(InputError, match="'mixup_probability'"):
        pipeline.augment_mel(KEY, random_batch(), {"mixup_probabilty": 0.5})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mixup_probability": 1.5}, "mixup_probability=1.5"),
        ({"warp_probability": float("nan")}, "warp_probability=nan"),
        ({"filter_probability": "often"}, "filter_probability='often'"),
        ({"mixup_alpha": 0.0}, "mixup_alpha=0.0"),
        ({"filter_min_bands": 6}, "filter_max_bands=5"),
        ({"time_mask_min_part": 0.4}, "time_mask_max_part=0.2"),
        ({"partner": "twin"}, "'twin'"),
    ],
)
def test_impossible_settings_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        pipeline.resolve(config)


def test_arrays_that_do_not_fit_are_refused():
    roll = {"time_roll_probability": 1.0}
    batch = random_batch()
    with pytest.raises(InputError, match="labels has shape"):
        pipeline.augment_mel(KEY, {**batch, "labels": batch["labels"][:3]}, roll)
    with pytest.raises(InputError, match="teacher has shape"):
        pipeline.augment_mel(KEY, {**batch, "teacher": batch["teacher"][..., :2]}, roll)
    with pytest.raises(InputError, match="no 'mel'"):
        pipeline.augment_mel(KEY, wave_batch(), roll)
    mix = {"wave_mixup_probability": 1.0}
    audio = np.zeros((8, 100), np.int16)
    with pytest.raises(InputError, match="audio is int16"):
        pipeline.augment_wave(KEY, {"audio": audio}, mix)


@pytest.mark.parametrize("name", ["TEACHER", "STUDENT", "RELEASED_TEACHER"])
def test_presets_name_every_setting(name):
    # So that each can be overridden on the command line of a locked config.
    assert set(getattr(pipeline, name)) == set(pipeline.DEFAULTS)
