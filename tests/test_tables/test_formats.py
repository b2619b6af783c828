import csv
import io

import numpy as np
import pytest

from jaxsed.evaluation.repeats import Samples
from jaxsed.tables import formats
from jaxsed.tables.table import Entry, Table


def entry(values, metric="psds1_macro", over="seeds", data="validation", **more):
    return Entry(Samples(np.array(values), over), metric, data, **more)


@pytest.fixture(scope="module")
def table():
    entries = {
        ("with KD", "beats"): entry((0.464, 0.466), is_best=True),
        ("no KD | 50 % & #1_a", "beats"): entry(
            (0.440, 0.442), verdict="lower", epsilons=(1.0, 0.01)
        ),
        ("with KD", "m2d"): entry([0.46]),
    }
    rows = ["with KD", "no KD | 50 % & #1_a"]
    return Table(rows, ["beats", "m2d"], entries, "with KD")


def test_markdown(table):
    assert formats.markdown(table, 1, ["a note"]).splitlines() == [
        "|                      |          beats |  m2d |",
        "|----------------------|---------------:|-----:|",
        "| with KD              | **46.5 ± 0.1** | 46.0 |",
        "| no KD \\| 50 % & #1_a |    44.1 ± 0.1▼ |    - |",
        "",
        "- a note",
    ]


def test_latex_escapes_what_it_must(table):
    assert formats.latex(table, 1, ["± ▲ 5 %"]).splitlines() == [
        r"\begin{tabular}{lcc}",
        r"\toprule",
        r" & beats & m2d \\",
        r"\midrule",
        r"with KD & \textbf{46.5 $\pm$ 0.1} & 46.0 \\",
        r"no KD \textbar{} 50 \% \& \#1\_a & 44.1 $\pm$ 0.1$^{\downarrow}$ & - \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip{\footnotesize",
        r"$\pm$ $^{\uparrow}$ 5 \%\par",
        "}",
    ]


def test_csv_has_all_there_is(table):
    first, third, second = csv.DictReader(io.StringIO(formats.as_csv(table, 1, [])))
    assert (first["row"], first["best"], first["verdict"]) == ("with KD", "1", "")
    assert float(second["mean"]) == pytest.approx(0.441)
    assert second["values"] == "0.44 0.442" and second["epsilon_below"] == "0.01"
    assert (second["verdict"], second["reference"]) == ("lower", "with KD")
    assert (third["column"], third["n"], third["spread"]) == ("m2d", "1", "")


def test_the_notes_say_what_was_measured_and_compared(table):
    assert formats.notes(table) == [
        "psds1_macro in %; more is better.",
        "Mean ± standard deviation over 1 to 2 seeds.",
        "Scores are of the data that the runs were evaluated on in training.",
        "Bold: the best of its column.",
        "▲ significantly higher, ▼ significantly lower than “with KD” in the same column; "
        "no mark: neither. Almost Stochastic Order, alpha = 0.05 with Bonferroni's "
        "correction for 1 column, epsilon_min < 0.2.",
    ]


def test_notes_of_single_runs_of_several_measures():
    entries = {
        ("a", "x"): entry([0.5], data="test"),
        ("b", "x"): entry([0.6], data="test"),
        ("a", "y"): entry([0.7], metric="segment_1s_er", data="test"),
    }
    table = Table(["a", "b"], ["x", "y"], entries, "a")
    said = formats.notes(table)
    assert "segment_1s_er; less is better." in said
    assert "One run in every cell: there is no spread, and nothing to test." in said
    assert "Scores are of test data that nothing was selected on." in said
    assert not any("Almost Stochastic" in line for line in said)
    assert "Not tested everywhere, for want of a second run: b." in said
    shown = formats.markdown(table, 1, [])
    assert "x (psds1_macro)" in shown and "y (segment_1s_er)" in shown
    assert "0.700" in shown and "50.0" in shown


def test_what_latex_cannot_print_is_nowhere(table):
    text = formats.latex(table, 1, formats.notes(table))
    assert not set(text) & set("±▲▼<>|")


def test_names_are_shown_as_they_are():
    names = ["[1]", "*", "a<b>_*"]
    table = Table(names, ["x|*y"], {(n, "x|*y"): entry([0.5]) for n in names}, None)
    first, _, *rows = formats.markdown(table, 1, []).splitlines()
    assert r"x\|\*y" in first and r"a\<b>_\*" in rows[2]
    # What begins a line would be an argument of the end of the line before.
    shown = formats.latex(table, 1, []).splitlines()[4:7]
    assert [line.split(" &")[0] for line in shown] == [
        "{[}1]",
        "{*}",
        r"a\textless{}b\textgreater{}\_{*}",
    ]
