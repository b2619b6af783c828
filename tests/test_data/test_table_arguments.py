import argparse

import pytest

from jaxsed.data import table_arguments
from jaxsed.data.layouts import clips, own, vggsound
from jaxsed.data.layouts.clip_columns import TableOptions
from jaxsed.data.layouts.event_columns import EventOptions
from jaxsed.errors import InputError


def options_of(layout, *arguments):
    parser = argparse.ArgumentParser()
    table_arguments.configure(parser)
    return table_arguments.options_of(parser.parse_args(arguments), layout)


def test_every_option_has_an_argument():
    arguments = ("--table", "a.csv, b.csv", "--file-column", "f", "--label-column", "l")
    arguments += ("--split-column", "s", "--label-separator", ";", "--labels", "multi")
    arguments += ("--eval-folds", "1,2", "--eval-share", "0.2", "--seed", "7")
    arguments += ("--validation-share", "0.3")
    expected = TableOptions(
        tables=("a.csv", "b.csv"),
        file_column="f",
        label_column="l",
        split_column="s",
        label_separator=";",
        labels="multi",
        eval_folds=("1", "2"),
        eval_share=0.2,
        validation_share=0.3,
        seed=7,
    )
    assert options_of(clips, *arguments) == {"options": expected}
    assert options_of(clips) == {"options": TableOptions()}


def test_layouts_that_know_their_tables_take_none():
    assert options_of(vggsound) == {}
    with pytest.raises(
        InputError, match="--table is for layout clips and own, not vggs"
    ):
        options_of(vggsound, "--table", "a.csv")
    with pytest.raises(InputError, match="--label-column is for layout clips and own"):
        options_of(vggsound, "--label-column", "a")


def test_every_option_of_events_has_an_argument():
    arguments = (
        "--onset-column",
        "a",
        "--offset-column",
        "b",
        "--unlabelled",
        "nothing",
    )
    expected = EventOptions(
        onset_column="a",
        offset_column="b",
        unlabelled="nothing",
        label_format="raven",
        label_column="c",
    )
    arguments += ("--label-format", "raven", "--label-column", "c")
    assert options_of(own, *arguments) == {"options": expected}
    with pytest.raises(InputError, match="--unlabelled is for layout own, not clips"):
        options_of(clips, "--unlabelled", "nothing")
    with pytest.raises(InputError, match="--labels is for layout clips, not own"):
        options_of(own, "--labels", "single")


def test_values_that_make_no_sense():
    with pytest.raises(InputError, match="--eval-share 2; expected a share"):
        options_of(clips, "--eval-share", "2")
