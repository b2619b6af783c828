from pathlib import Path

import pytest

from jaxsed.data.layouts.table_splits import SplitOptions, SplitTable, assign_splits
from jaxsed.errors import InputError

CLIPS = [f"clip{k // 2}" for k in range(80)]  # two lines each


def splits_of(table, **options):
    (splits,) = assign_splits([table], SplitOptions(**options))
    return splits


def at_random(**options):
    table = SplitTable(Path("t.csv"), CLIPS, None, None)
    return splits_of(table, **options)


def test_three_splits_at_random():
    splits = at_random(eval_share=0.25, validation_share=0.1, seed=1)
    counts = [splits.count(each) for each in ("train", "validation", "eval")]
    assert counts == [52, 8, 20]
    assert all(splits[k] == splits[k + 1] for k in range(0, 80, 2))  # clips stay whole
    # What is for evaluation does not depend on whether there is a validation set.
    alone = at_random(eval_share=0.25, seed=1)
    assert [s == "eval" for s in alone] == [s == "eval" for s in splits]
    assert set(alone) == {"train", "eval"}
    assert at_random(eval_share=0.25, validation_share=0.1, seed=2) != splits


def test_what_a_table_says_counts_more_than_its_name():
    table = SplitTable(Path("test.csv"), ["a", "b"], ["Train", "what"], "eval")
    assert splits_of(table) == ["train", None]
    assert splits_of(table._replace(values=None)) == ["eval", "eval"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"validation_share": 1.5}, r"--validation-share 1\.5; expected a share"),
        (
            {"validation_share": 0.95},
            r"--eval-share 0\.1 and --validation-share 0\.95 leave nothing",
        ),
        ({"eval_folds": ("1",)}, r"t\.csv has no column of folds"),
    ],
)
def test_what_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        at_random(**options)
    named = SplitTable(Path("test.csv"), ["a", "b"], None, "eval")
    with pytest.raises(InputError, match=r"--validation-share 0\.2: test\.csv says"):
        splits_of(named, validation_share=0.2)
