import pytest

from jaxsed.data.problems import (
    KINDS,
    NOTHING,
    WHOLE_CLIP,
    Problem,
    RawEvent,
    clean_events,
    count_kinds,
    says_nothing,
    to_tsv,
)
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

PETS = Vocabulary("pets", ("Dog", "Cat"), ("/m/dog", "/m/cat"))


def clean(*rows, duration=10.0):
    raw = [RawEvent(*row, line) for line, row in enumerate(rows, start=2)]
    events, problems = clean_events("clip", raw, PETS, duration)
    assert all(problem.clip == "clip" for problem in problems)
    assert all(problem.kind in KINDS for problem in problems)
    return events, [problem.kind for problem in problems]


def test_good_events_pass():
    rows = (3.0, 4.0, "/m/cat"), (0.0, 10.0, "/m/dog"), (4.5, 5.0, "Cat")
    assert clean(*rows) == ([Event(0, 10, 0), Event(3, 4, 1), Event(4.5, 5, 1)], [])


@pytest.mark.parametrize(
    ("row", "kept", "kind"),
    [
        ((1.0, 2.0, "/m/fish"), None, "unknown_label"),
        ((2.0, 1.0, "/m/dog"), None, "reversed"),
        ((2.0, 2.0, "/m/dog"), None, "reversed"),
        ((-1.0, 2.0, "/m/dog"), Event(0.0, 2.0, 0), "negative_time"),
        ((-2.0, -1.0, "/m/dog"), None, "negative_time"),
        ((-2.0, 0.0, "/m/dog"), None, "negative_time"),
        ((9.0, 10.5, "/m/dog"), Event(9.0, 10.0, 0), "outside_clip"),
        ((10.0, 10.05, "/m/dog"), None, "outside_clip"),
        ((11.0, 12.0, "/m/dog"), None, "outside_clip"),
    ],
)
def test_each_kind_of_wrong_event(row, kept, kind):
    assert clean(row) == ([kept] if kept else [], [kind])


def test_a_tenth_of_a_second_too_long_is_cut_without_complaint():
    assert clean((9.0, 10.0, "/m/dog"), duration=9.95) == ([Event(9.0, 9.95, 0)], [])


def test_without_a_duration_nothing_is_outside():
    assert clean((11.0, 12.0, "/m/dog"), duration=None) == ([Event(11.0, 12.0, 0)], [])


def test_duplicates_and_overlaps():
    twice = (1.0, 2.0, "/m/dog"), (1.0, 2.0, "Dog")
    assert clean(*twice) == ([Event(1.0, 2.0, 0)], ["duplicate"])
    overlapping = (1.0, 2.0, "/m/dog"), (1.5, 3.0, "/m/dog")
    assert clean(*overlapping) == ([Event(1.0, 3.0, 0)], ["overlap"])
    touching = (1.0, 2.0, "/m/dog"), (2.0, 3.0, "/m/dog")
    assert clean(*touching) == ([Event(1.0, 3.0, 0)], [])
    other_class = (1.0, 2.0, "/m/dog"), (1.5, 3.0, "/m/cat")
    assert clean(*other_class)[1] == []


def test_an_unknown_label_names_line_and_nearest_class():
    raw = [RawEvent(1.0, 2.0, "Dgo", 7)]
    (problem,) = clean_events("clip", raw, PETS, 10.0)[1]
    assert problem.detail.startswith("line 7: Dgo 1 to 2 s: unknown class")
    assert problem.detail.endswith("did you mean 'Dog'?")


def test_a_label_of_the_whole_clip_is_as_long_as_the_clip():
    whole = (*WHOLE_CLIP, "/m/dog")
    assert clean(whole, duration=7.3) == ([Event(0.0, 7.3, 0)], [])
    assert clean(whole, whole, duration=7.3) == ([Event(0.0, 7.3, 0)], ["duplicate"])
    raw = [RawEvent(*WHOLE_CLIP, "Dgo", 0)]
    (problem,) = clean_events("clip", raw, PETS, 7.3)[1]
    assert problem.detail.startswith("Dgo: unknown class")  # no line, no times


def test_the_report():
    problems = [
        Problem("b c", "short", "a\ttab\nand more"),
        Problem("a", "missing", ""),
    ]
    assert to_tsv(problems) == (
        "clip\tkind\tdetail\nb c\tshort\ta tab and more\na\tmissing\t\n"
    )
    assert list(count_kinds([*problems, *problems]).items()) == [
        ("missing", 2),
        ("short", 2),
    ]


def test_that_nothing_sounds_is_no_event_and_no_problem():
    nothing = RawEvent(*NOTHING, 3)
    assert clean_events("a", [nothing], PETS, 10.0) == ([], [])
    assert says_nothing([nothing]) and not says_nothing([])
    assert not says_nothing([nothing, RawEvent(0.0, 1.0, "no such class", 4)])
