from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed import losses
from jaxsed.errors import InputError

SHAPE = (3, 5, 4)
GOLDEN = Path(__file__).parent / "golden" / "recipe.npz"


def problem(seed=0, scale=3.0):
    rng = np.random.default_rng(seed)
    logits = scale * rng.standard_normal(SHAPE)
    labels = rng.integers(0, 2, SHAPE).astype(float)
    teacher = rng.random(SHAPE)
    return [jnp.asarray(array, jnp.float32) for array in (logits, labels, teacher)]


def exact_bce(logits, targets):
    """In float64, the textbook formula."""
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    z = np.asarray(targets, np.float64)
    return -(z * np.log(p) + (1 - z) * np.log1p(-p))


def test_frame_bce_is_the_mean_cross_entropy():
    logits, labels, teacher = problem()
    for targets in (labels, teacher):
        loss, measurements = losses.frame_bce(logits, targets)
        np.testing.assert_allclose(loss, exact_bce(logits, targets).mean(), rtol=1e-6)
        assert measurements["label_bce"] == loss
        assert loss.dtype == jnp.float32


def test_clip_bce_is_the_mean_cross_entropy():
    logits, labels, _ = problem()
    loss, _ = losses.clip_bce(logits[:, 0], labels[:, 0])
    expected = exact_bce(logits[:, 0], labels[:, 0]).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_clip_losses_are_asts():
    with np.load(GOLDEN) as golden:
        logits, labels = golden["loss/logits"], golden["metrics/target"]
        bce, _ = losses.clip_bce(jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
        ce, measured = losses.clip_ce(
            jnp.asarray(logits, jnp.float32), jnp.asarray(labels)
        )
        np.testing.assert_allclose(bce, golden["loss/bce"], rtol=1e-6)
        np.testing.assert_allclose(bce, golden["loss/htsat_clip_bce"], rtol=1e-6)
        np.testing.assert_allclose(ce, golden["loss/ce"], rtol=1e-6)
        assert measured["label_ce"] == ce


def test_cross_entropy_takes_the_louder_class_and_no_filled_up_clip():
    logits = jnp.array([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0], [jnp.nan] * 3])
    labels = jnp.array([[0.4, 0.6, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    loss, _ = losses.clip_ce(logits, labels, jnp.array([True, True, False]))
    first = np.log(np.exp([1.0, 3.0, 0.0]).sum()) - 3.0
    np.testing.assert_allclose(loss, (first + np.log(3)) / 2, rtol=1e-6)
    huge, _ = losses.clip_ce(jnp.array([[1e4, -1e4]]), jnp.array([[1.0, 0.0]]))
    assert huge == 0


def test_clips_are_distilled_as_frames_are():
    logits, labels, teacher = problem()
    valid = jnp.array([True, False, True])
    one_frame = [array[:, :1] for array in (logits, labels, teacher)]
    expected, _ = losses.distillation(*one_frame, 0.7, valid)
    clips = [array[:, 0] for array in one_frame]
    loss, measurements = losses.distillation(*clips, 0.7, valid)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(measurements["teacher_part"], 2 / 3, rtol=1e-6)


def test_filled_up_clips_do_not_count():
    logits, labels, _ = problem()
    valid = jnp.array([True, False, True])
    broken = logits.at[1].set(jnp.nan)
    expected = exact_bce(logits, labels)[[0, 2]].mean()
    loss, _ = losses.frame_bce(broken, labels, valid)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    nothing, _ = losses.frame_bce(logits, labels, jnp.zeros(3, bool))
    assert nothing == 0


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.9, 1.0])
def test_distillation_is_the_weighted_sum(weight):
    logits, labels, teacher = problem()
    loss, measurements = losses.distillation(logits, labels, teacher, weight)
    label_bce = exact_bce(logits, labels).mean()
    teacher_bce = exact_bce(logits, teacher).mean()
    expected = (1 - weight) * label_bce + weight * teacher_bce
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(measurements["label_bce"], label_bce, rtol=1e-6)
    np.testing.assert_allclose(
        losses.mean_over_steps([measurements])["teacher_bce"], teacher_bce, rtol=1e-6
    )
    assert measurements["teacher_part"] == 1


def test_clips_without_teacher_learn_from_labels_alone():
    logits, labels, teacher = problem()
    teacher = teacher.at[1].set(jnp.nan)
    valid = jnp.array([True, False, True])

    def loss_of(logits):
        return losses.distillation(logits, labels, teacher, 0.9, valid)

    (loss, measurements), gradient = jax.value_and_grad(loss_of, has_aux=True)(logits)
    label_bce = exact_bce(logits, labels).mean(axis=(1, 2))
    teacher_bce = exact_bce(logits, teacher).mean(axis=(1, 2))
    each = 0.1 * label_bce + 0.9 * teacher_bce
    expected = np.mean([each[0], label_bce[1], each[2]])
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(
        losses.mean_over_steps([measurements])["teacher_bce"],
        teacher_bce[[0, 2]].mean(),
    )
    np.testing.assert_allclose(measurements["teacher_part"], 2 / 3, rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_a_mean_over_some_clips_is_over_those_of_all_steps():
    steps = [
        {"loss": np.float32(loss), "clip_bce": losses.SomeClips(*map(np.float32, some))}
        for loss, some in ((1.0, (0.8, 1)), (2.0, (0.0, 0)), (6.0, (1.6, 4)))
    ]
    found = losses.mean_over_steps(steps)
    assert found == {"loss": 3.0, "clip_bce": pytest.approx(2.4 / 5)}
    assert np.isnan(losses.mean_over_steps(steps[1:2])["clip_bce"])


def test_without_any_teacher_the_loss_is_the_labels():
    logits, labels, teacher = problem()
    none = jnp.zeros(3, bool)
    loss, measurements = losses.distillation(logits, labels, teacher, 0.9, none)
    expected, _ = losses.frame_bce(logits, labels)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert np.isnan(losses.mean_over_steps([measurements])["teacher_bce"])


def test_gradient_is_sigmoid_minus_target():
    logits, labels, teacher = problem()
    logits = logits.at[0, 0, 0].set(0.0)  # where max and abs have their kinks
    gradient = jax.grad(
        lambda x: losses.distillation(x, labels, teacher, weight=0.9)[0]
    )(logits)
    target = 0.1 * labels + 0.9 * teacher
    expected = (jax.nn.sigmoid(logits) - target) / logits.size
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_extreme_logits_are_exact_and_finite():
    logits = jnp.array([[[-1e4, 1e4, -20.0, 20.0, -1e4, 1e4]]])
    labels = jnp.array([[[0.0, 1.0, 0.0, 1.0, 1.0, 0.0]]])
    one_by_one = [
        float(losses.frame_bce(logits[..., i : i + 1], labels[..., i : i + 1])[0])
        for i in range(6)
    ]
    tiny = np.log1p(np.exp(-20.0))
    np.testing.assert_allclose(one_by_one, [0, 0, tiny, tiny, 1e4, 1e4], rtol=1e-6)
    gradient = jax.grad(lambda x: losses.frame_bce(x, labels)[0])(logits)
    assert np.isfinite(gradient).all()


def test_low_precision_logits_are_scored_in_float32():
    logits, labels, teacher = problem()
    rounded = logits.astype(jnp.bfloat16)
    loss, _ = losses.distillation(rounded, labels, teacher)
    expected, _ = losses.distillation(rounded.astype(jnp.float32), labels, teacher)
    assert loss.dtype == jnp.float32 and loss == expected


def test_wrong_shapes_and_weights_are_refused():
    logits, labels, teacher = problem()
    with pytest.raises(InputError, match=r"labels have shape \[3, 5, 3\]"):
        losses.frame_bce(logits, labels[..., :3])
    with pytest.raises(InputError, match="clip_labels have shape"):
        losses.clip_bce(logits[:, 0], labels)
    with pytest.raises(InputError, match="clip_labels have shape"):
        losses.clip_ce(logits[:, 0], labels)
    with pytest.raises(InputError, match="teacher have shape"):
        losses.distillation(logits, labels, teacher[:, :4])
    with pytest.raises(InputError, match=r"weight is 1\.2"):
        losses.distillation(logits, labels, teacher, weight=1.2)


def test_of_each_clip_what_is_known_is_learned():
    logits, labels, teacher = problem()
    clip_logits, clip_labels = logits[:, 0], teacher[:, 0]
    known = jnp.array([True, False, True])
    loss, measurements = losses.frame_or_clip_bce(
        logits, labels, clip_logits, clip_labels, known
    )
    of_frames = exact_bce(logits, labels).mean((1, 2))
    of_clips = exact_bce(clip_logits, clip_labels).mean(1)
    expected = (of_frames[0] + of_clips[1] + of_frames[2]) / 3
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(
        losses.mean_over_steps([measurements])["label_bce"],
        of_frames[[0, 2]].mean(),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        losses.mean_over_steps([measurements])["clip_bce"], of_clips[1], rtol=1e-6
    )
    np.testing.assert_allclose(measurements["times_part"], 2 / 3, rtol=1e-6)

    def gradients(known):
        def loss_of(pair):
            return losses.frame_or_clip_bce(
                pair[0], labels, pair[1], clip_labels, known
            )[0]

        return jax.grad(loss_of)((logits, clip_logits))

    of_frames, of_clips = gradients(known)
    assert not of_frames[1].any() and of_frames[0].any()
    assert not of_clips[0].any() and of_clips[1].any()
