import math
from pathlib import Path

import pytest

from jaxsed.data.layouts.event_listing import EventListing
from jaxsed.data.problems import NOTHING, RawEvent
from jaxsed.labels.vocab import Vocabulary


def split_of(listing):
    audio = [None] * len(listing.clips)
    pets = Vocabulary("pets", ("Dog",))
    return listing.split("mine", "train", Path("there"), pets, audio)


def test_rows_become_clips():
    listing = EventListing({"b": 120.0})
    listing.add_row("b", ("1", "2.5"), "Dog", "t.tsv", 2)
    listing.add_row("a", ("", "nan"), "NA", "t.tsv", 3)
    listing.add_row("b", ("0,5", "0,75"), "Cat", "t.tsv", 4)
    split = split_of(listing)
    first, second = split.clips
    assert (first.id, first.events) == ("a", (RawEvent(*NOTHING, 3),))
    events = (RawEvent(1.0, 2.5, "Dog", 2), RawEvent(0.5, 0.75, "Cat", 4))
    assert (second.id, second.events, second.listed_seconds) == ("b", events, 120.0)
    assert math.isnan(first.listed_seconds)
    assert listing.labels == ["Dog", "Cat"]
    assert (split.annotation, split.labels, split.problems) == ("frames", "multi", ())


@pytest.mark.parametrize(
    "times, label, what",
    [
        (("1", ""), "Dog", "times '1', '' are not numbers"),
        (("1", "inf"), "Dog", "times '1', 'inf' are not numbers"),
        (("", ""), "Dog", "times '', '' are not numbers"),
        (("1", "2"), "", "no label"),
        (("1", "2"), "NaN", "no label"),
        (("NA", "2"), "Dog", "times 'NA', '2' are not numbers"),
    ],
)
def test_a_row_that_says_neither_does_not_make_a_clip_silent(times, label, what):
    listing = EventListing()
    listing.add_row("a", times, label, "t.tsv", 7)
    ((clip, kind, detail),) = listing.problems
    assert (clip, kind, detail) == ("a", "unreadable_line", f"t.tsv, line 7: {what}")
    assert split_of(listing).clips[0].events == ()


def test_a_line_of_no_clip():
    listing = EventListing()
    listing.reject("", "t.tsv", 7, "too few values")
    assert listing.clips == [] and len(listing.problems) == 1
