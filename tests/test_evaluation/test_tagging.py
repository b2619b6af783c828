"""Average precision, AUC, d' and accuracy against scikit-learn, ties included."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from jaxsed.errors import InputError
from jaxsed.evaluation.tagging import accuracy, d_prime, tagging_scores


@pytest.mark.parametrize("decimals", [0, 1, 8])  # 0: nearly everything is tied
@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn(seed, decimals):
    rng = np.random.default_rng([seed, decimals])
    n_classes = 70  # more than one block
    scores = rng.normal(size=(120, n_classes)).round(decimals)
    labels = rng.random((120, n_classes)) < rng.uniform(0.02, 0.9, n_classes)
    labels[0], labels[1] = True, False
    found = tagging_scores(scores, labels)
    for c in range(n_classes):
        assert found.average_precision[c] == pytest.approx(
            average_precision_score(labels[:, c], scores[:, c]), abs=1e-12
        )
        assert found.auc[c] == pytest.approx(
            roc_auc_score(labels[:, c], scores[:, c]), abs=1e-12
        )
    np.testing.assert_array_equal(found.n_positive, labels.sum(axis=0))
    np.testing.assert_allclose(found.d_prime, np.sqrt(2) * norm.ppf(found.auc))
    for targets in (labels, np.eye(n_classes)[rng.integers(n_classes, size=120)]):
        expected = accuracy_score(targets.argmax(1), scores.argmax(1))
        assert accuracy(scores, targets) == pytest.approx(expected, abs=1e-12)


def test_equals_what_ast_and_htsat_compute():
    path = Path(__file__).parents[1] / "golden" / "recipe.npz"
    with np.load(path) as file:
        golden = {name: file[name] for name in file.files if "metrics" in name}
    scores, labels = golden["metrics/pred"], golden["metrics/target"]
    found = tagging_scores(scores, labels)
    np.testing.assert_allclose(
        found.average_precision, golden["metrics/AP"], atol=1e-12
    )
    np.testing.assert_allclose(found.auc, golden["metrics/auc"], atol=1e-12)
    means = found.average_precision.mean(), found.auc.mean()
    np.testing.assert_allclose(means, (golden["metrics/mAP"], golden["metrics/mAUC"]))
    np.testing.assert_allclose(d_prime(means[1]), golden["metrics/dprime"], rtol=1e-12)
    assert accuracy(scores, labels) == golden["metrics/acc"]


def test_by_hand():
    scores = np.array([[4.0], [3.0], [2.0], [1.0]])
    found = tagging_scores(scores, np.array([[1], [0], [1], [0]]))
    assert found.average_precision[0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert found.auc[0] == pytest.approx(3 / 4)
    assert d_prime(0.5) == 0.0
    assert d_prime(norm.cdf(1.0)) == pytest.approx(np.sqrt(2))


@pytest.mark.filterwarnings("error")
def test_classes_without_positives_or_negatives_are_nan():
    scores = np.arange(6.0).reshape(3, 2)
    found = tagging_scores(scores, np.array([[0, 1], [0, 1], [0, 1]]))
    assert np.isnan(found.average_precision[0])
    assert np.isnan(found.auc).all()
    assert np.isnan(found.d_prime).all()
    assert found.average_precision[1] == 1.0


def test_wrong_input_is_named():
    with pytest.raises(InputError, match=r"scores \[2, 3\] and labels \[3, 2\]"):
        tagging_scores(np.zeros((2, 3)), np.zeros((3, 2)))
    scores = np.zeros((3, 2))
    scores[1, 1] = np.nan
    with pytest.raises(InputError, match="1 clips are NaN \\(first: row 1\\)"):
        tagging_scores(scores, np.zeros((3, 2)))
