import pytest

from jaxsed.data.layouts.splits import (
    SPLITS,
    WORDS,
    at_random,
    split_called,
    split_of_file,
)
from jaxsed.errors import InputError

CLIPS = [f"clip {k}" for k in range(1000)]


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("Training set", "train"),
        ("val", "validation"),
        ("dev_2", "validation"),
        ("VALIDATE", "validation"),
        ("kinetics400test", "eval"),
        ("testate", None),
        ("", None),
        ("restrained", None),
    ],
)
def test_words(text, split):
    assert split_called(text) == split


def test_every_word_means_one_split():
    words = [word for split in SPLITS for word in WORDS[split]]
    assert len(words) == len(set(words))
    assert [split_called(word) for split in SPLITS for word in WORDS[split]] == [
        split for split in SPLITS for _ in WORDS[split]
    ]


def test_the_nearest_folder_of_a_file_counts_and_its_ending_does_not():
    assert split_of_file("train/test/a.csv") == "eval"
    assert split_of_file("test/train_01.csv") == "train"
    assert split_of_file("data/a.test") is None


def test_chance_is_the_same_whatever_the_order_and_another_with_another_seed():
    chosen = at_random(CLIPS, 0.2, seed=3)
    assert len(chosen) == 200
    assert at_random(CLIPS[::-1] + CLIPS[:5], 0.2, seed=3) == chosen
    assert at_random(CLIPS, 0.2, seed=4) != chosen
    assert chosen < at_random(CLIPS, 0.3, seed=3)  # a larger share keeps the smaller


@pytest.mark.parametrize(("share", "count"), [(0.001, 1), (0.999, 2), (0.5, 2)])
def test_no_side_is_empty(share, count):
    assert len(at_random(CLIPS[:3], share, seed=0)) == count
    with pytest.raises(InputError, match="1 clips cannot be split at random"):
        at_random(CLIPS[:1], share, seed=0)
