import jax
import numpy as np
import pytest

from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models import sed
from jaxsed.models.heads import HEADS
from jaxsed.stages import start
from jaxsed.stages.program import build_program, init_params
from jaxsed.training import sharding
from jaxsed.weights import architecture, files, resolution


def test_start_takes_the_encoder_and_leaves_heads_fresh(teachers):
    folder = teachers["t1"]
    loaded, _ = files.load_model(folder)
    model = sed.build("tiny_atst_frame", loaded["strong_head"]["bias"].shape[0])
    abstract = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    scratch = start.start_params(model, abstract, 0, "")
    started = start.start_params(model, abstract, 0, folder)
    jax.tree.map(np.testing.assert_array_equal, started["encoder"], loaded["encoder"])
    head = ("strong_head", "kernel")
    np.testing.assert_array_equal(started[head[0]][head[1]], scratch[head[0]][head[1]])
    assert np.any(started[head[0]][head[1]] != loaded[head[0]][head[1]])


def test_start_refuses_another_encoder(teachers):
    folder = teachers["t1"]
    model = sed.build("tiny_fpasst", 20)
    abstract = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    with pytest.raises(InputError, match="holds the encoder tiny_atst_frame"):
        start.start_params(model, abstract, 0, folder)


def compressed(loaded, compression, **options):
    """A model for the classes of loaded parameters, and its parameters' shapes."""
    n_classes = loaded["strong_head"]["bias"].shape[0]
    model = sed.build("tiny_atst_frame", n_classes, compression=compression, **options)
    return model, jax.eval_shape(lambda: init_params(model, jax.random.key(0)))


def test_a_coarse_start_adapts_the_encoder(teachers):
    folder = teachers["t1"]
    loaded, description = files.load_model(folder)
    model, abstract = compressed(loaded, "patch_pi-4")
    started = start.start_params(model, abstract, 0, folder)
    expected = resolution.adapt(loaded, architecture.build(description), model)
    assert expected["encoder"]["embed"]["positions"].shape == (63, 96)
    jax.tree.map(np.testing.assert_array_equal, started["encoder"], expected["encoder"])
    head = started["strong_head"]["kernel"]
    assert np.any(head != loaded["strong_head"]["kernel"])


def test_a_phase_goes_on_with_all_of_the_one_before(teachers, tmp_path):
    loaded, description = files.load_model(teachers["t1"])
    vocabulary = Vocabulary.from_json(description["vocabulary"])
    coarse, abstract = compressed(loaded, "fshift-4")
    options = {"carry": "all", "vocabulary": vocabulary}
    first = start.start_params(coarse, abstract, 0, teachers["t1"], **options)
    description |= architecture.describe("tiny_atst_frame", compression="fshift-4")
    files.save_model(tmp_path / "coarse", first, description)
    fine, abstract = compressed(loaded, "none")
    second = start.start_params(fine, abstract, 1, str(tmp_path / "coarse"), **options)
    assert jax.tree.map(np.shape, second) == jax.tree.map(np.shape, loaded)
    for name in ("strong_head", "weak_head"):
        jax.tree.map(np.testing.assert_array_equal, second[name], loaded[name])
    same = second["encoder"]["block_0"], loaded["encoder"]["block_0"]
    jax.tree.map(np.testing.assert_array_equal, *same)


def test_what_cannot_be_carried_over_is_named(teachers):
    folder = teachers["t1"]
    loaded, _ = files.load_model(folder)
    model, abstract = compressed(loaded, "none", sequence="bigru", sequence_width=8)
    with pytest.raises(InputError, match=r"has another sequence than.*carry=encoder"):
        start.start_params(model, abstract, 0, folder, carry="all")
    model, abstract = compressed(loaded, "none")
    other = vocab.load("audioset_strong_447")
    with pytest.raises(InputError, match=r"heads for the \d+ classes.*with 447 of"):
        start.start_params(model, abstract, 0, folder, carry="all", vocabulary=other)
    with pytest.raises(InputError, match=r"carry 'al'.*did you mean 'all'"):
        start.start_params(model, abstract, 0, folder, carry="al")


def test_heads_that_are_carried_over_keep_their_bias(teachers, small):
    loaded, _ = files.load_model(teachers["t1"])
    changes = {"init": teachers["t1"], "carry": "all", "prior_bias": True}
    config = small(**changes)
    data = PreparedData(config["data"]["train"])
    program = build_program(
        config,
        lambda logits, out, batch: (logits.mean(), {}),
        len(data.vocabulary),
        sharding.make_mesh(),
    )
    state = start.start_state(config, program, data)
    bias = state.params["strong_head"]["bias"]
    np.testing.assert_array_equal(bias, loaded["strong_head"]["bias"])


def test_prior_makes_an_untrained_head_predict_how_common_classes_are(small):
    data = PreparedData(small()["data"]["train"])
    c = len(data.vocabulary)
    heads = {"kernel": np.zeros((4, c)), "bias": np.zeros(c)}
    both = HEADS["linear"].of_classes
    params = start.with_prior({"strong_head": heads, "weak_head": heads}, both, data)
    found = jax.nn.sigmoid(params["strong_head"]["bias"])
    expected = data.activity().class_seconds() / data.durations.sum()
    np.testing.assert_allclose(found, np.clip(expected, 1e-4, 0.5), rtol=1e-4)
    clips = data.activity().class_clips() / len(data)
    found = jax.nn.sigmoid(params["weak_head"]["bias"])
    np.testing.assert_allclose(found, np.clip(clips, 1e-4, 0.5), rtol=1e-4)
    # Heads with one layer, such as HTS-AT's own.
    alone = start.with_prior({"weak_head": heads}, both, data)
    assert alone.keys() == {"weak_head"}
    np.testing.assert_array_equal(
        alone["weak_head"]["bias"], params["weak_head"]["bias"]
    )
    # A layer that weights frames says nothing of classes.
    one = HEADS["attention"].of_classes
    weighted = start.with_prior({"strong_head": heads, "weak_head": heads}, one, data)
    assert weighted["weak_head"] is heads
    np.testing.assert_array_equal(
        weighted["strong_head"]["bias"], params["strong_head"]["bias"]
    )


def test_dropped_blocks_of_a_start_are_left_out(teachers):
    loaded, _ = files.load_model(teachers["t1"])
    model, abstract = compressed(loaded, "none", drop_layers=2)
    started = start.start_params(model, abstract, 0, teachers["t1"])
    kept = {k: v for k, v in loaded["encoder"].items() if k[-1] not in "12"}
    assert set(kept) == {"embed", "block_0", "norm"}
    jax.tree.map(np.testing.assert_array_equal, started["encoder"], kept)
