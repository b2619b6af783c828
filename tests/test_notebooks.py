"""The notebooks run as they are, and what is kept of their runs is small and tidy."""

import base64
import copy
import io
import json
import re

import nbformat
import pytest
from PIL import Image

from notebooks import execute

PATHS = execute.paths()
NAMES = [path.stem for path in PATHS]
MOST_BYTES = 300_000
OF_A_MACHINE = re.compile(r"/tmp|/work|/home/|/root/|/Users/|site-packages|\x1b|\r")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Enough to see that every cell does its part.
SMALL = {
    "01_detect": {"scenes": 8, "steps": 2},
    "02_fine_tune": {"scenes": 8, "steps_before": 2, "recordings": 12, "steps": 2},
    "04_three_steps": {
        "scenes": 8,
        "eval_scenes": 4,
        "weak_steps": 2,
        "teacher_steps": 2,
        "student_steps": 4,
    },
    "05_pod": {"steps": 2},
}


@pytest.fixture(scope="module")
def kept():
    return {path.stem: nbformat.read(path, as_version=4) for path in PATHS}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return tmp_path_factory.mktemp("clone")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_five():
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_every_cell_runs_and_shows_what_is_kept(path, clone, kept):
    done = execute.execute(path, clone, SMALL.get(path.stem))
    shown = {cell.source: kinds(cell) for cell in code_cells(execute.tidied(done))}
    for cell in code_cells(kept[path.stem]):
        assert kinds(cell) <= shown[cell.source], cell.source


def kinds(cell):
    """What a cell shows: text it writes, pictures, values."""
    return {output.get("name") or tuple(sorted(output.data)) for output in cell.outputs}


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_what_is_kept_is_small_and_of_no_machine(path, kept):
    notebook = kept[path.stem]
    assert path.stat().st_size < MOST_BYTES
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert sum(bool(cell.outputs) for cell in code_cells(notebook)) > 2
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error"
            texts = [output.get("text", "")]
            for kind, content in output.get("data", {}).items():
                if kind == "image/png":
                    assert picture(content).width <= execute.PICTURE_PIXELS
                else:
                    texts.append(content)
            assert not OF_A_MACHINE.search("\n".join(texts)), cell.source


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_files_are_as_they_are_written(path, kept):
    notebook = copy.deepcopy(kept[path.stem])
    pictures = [json.dumps(cell.outputs) for cell in code_cells(notebook)]
    again = execute.tidied(notebook, pictures=False)
    assert nbformat.writes(again) + "\n" == path.read_text(encoding="utf-8")
    assert [json.dumps(cell.outputs) for cell in code_cells(again)] == pictures


def test_each_opens_in_colab_and_installs_in_the_same_way(kept):
    setups = set()
    for name, notebook in kept.items():
        badge = f"https://colab.research.google.com/github/OWNER/jaxsed/blob/main/notebooks/{name}.ipynb"
        assert badge in notebook.cells[0].source
        setups.add(code_cells(notebook)[0].source)
    (setup,) = setups
    assert "github.com/OWNER/jaxsed" in setup


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name, kept):
    text = "\n".join(
        cell.source for cell in kept[name].cells if cell.cell_type == "markdown"
    )
    pages = "https://github.com/OWNER/jaxsed/blob/main/"
    links = [link for link in LINK.findall(text) if "colab" not in link]
    assert links
    for link in links:
        assert link.startswith(pages), link
        page, _, anchor = link.removeprefix(pages).partition("#")
        assert (execute.CLONE / page).is_file(), link
        assert not anchor or anchor in anchors(execute.CLONE / page), link


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).replace(" ", "-").lower() for h in headings}


def picture(content):
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_a_terminals_text_is_what_is_seen_in_the_end():
    bar = "\r 10%|\x1b[32m#\x1b[0m   | 1/9 [00:01<00:08]\r100%|###| 9/9 [00:09<00:00]"
    text = f"{bar}\r\nstudent loader: 9 clips/s\n\n\x1b[31mdone\x1b[0m  \r\nA\rB"
    assert execute.plain(text) == "done\nB\n"
    assert execute.plain(bar) == ""


def test_pictures_become_small():
    drawn = Image.linear_gradient("L").resize((2400, 600)).convert("RGB")
    content = io.BytesIO()
    drawn.save(content, "PNG")
    less = execute.smaller(base64.b64encode(content.getvalue()).decode())
    assert picture(less).size == (execute.PICTURE_PIXELS, 250)
    assert len(picture(less).getcolors()) <= execute.PICTURE_COLOURS


def write(path, *sources):
    cells = [nbformat.v4.new_code_cell("n = 0", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_a_failing_command_and_an_unknown_parameter_are_errors(tmp_path):
    path = write(tmp_path / "a.ipynb", "!exit $n")
    with pytest.raises(KeyError, match="m: the notebook's parameters are"):
        execute.execute(path, tmp_path, {"m": 0})
    with pytest.raises(execute.CellExecutionError, match="failed: exit"):
        execute.execute(path, tmp_path, {"n": 3})
