"""Runs the notebooks and keeps what they show, so that it can be read without running.

    make notebooks
    python -m notebooks.execute 01 04       # some of them

They run one after another in one folder that looks like a clone, on the CPU. What is
kept is small and the same wherever it is made: no times of execution, no progress bars,
no paths of a machine, pictures of few colours.
"""

import argparse
import ast
import base64
import io
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parent
CLONE = FOLDER.parent
PARTS_OF_THE_CLONE = ("configs", "tests")  # that the notebooks read
PARAMETERS = "parameters"  # tag of the cell that says how long things take
PICTURE_PIXELS = 1000  # width of a picture, at most
PICTURE_COLOURS = 128
# Bars, and how fast this machine is at this moment.
PROGRESS = re.compile(r"\d+%\|.*\| .*\[.*\]$|^\S+ loader: ")
TIMEOUT_SECONDS = 3600  # of a cell
# A command of a cell (`!jaxsed ...`) that fails is no error to a notebook; here it is.
CHECK_COMMANDS = """\
def _checked(command, run=get_ipython().system):
    run(command)
    if get_ipython().user_ns["_exit_code"]:
        raise RuntimeError(f"failed: {command}")


get_ipython().system = _checked
"""


def paths() -> list[Path]:
    """Returns the notebooks in their order."""
    return sorted(FOLDER.glob("*.ipynb"))


def execute(
    path: Path, folder: Path, parameters: Mapping[str, Any] | None = None
) -> nbformat.NotebookNode:
    """Runs a notebook.

    Args:
        path: the notebook; it is left as it is.
        folder: where it runs; gets links to what it reads of the clone.
        parameters: values for names that its cell tagged `parameters` sets.

    Returns:
        The notebook with its outputs.

    Raises:
        KeyError: it sets no such name there.
        CellExecutionError: a cell raised an error, or one of its commands failed.
    """
    notebook = nbformat.read(path, as_version=4)
    if parameters:
        _insert(notebook, parameters)
    for part in PARTS_OF_THE_CLONE:
        if not (folder / part).exists():
            (folder / part).symlink_to(CLONE / part)
    check = nbformat.v4.new_code_cell(CHECK_COMMANDS)
    notebook.cells.insert(0, check)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment(folder))
    del notebook.cells[0]
    return notebook


def environment(folder: Path) -> dict[str, str]:
    """Returns the environment of a kernel: one CPU device, nothing of this machine's."""
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "MPLBACKEND")}
    return kept | {
        "JAX_PLATFORMS": "cpu",
        "JAXSED_CACHE": str(folder / ".cache"),
        "IPYTHONDIR": str(folder / ".ipython"),
        "TQDM_DISABLE": "1",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }


def _insert(notebook: nbformat.NotebookNode, parameters: Mapping[str, Any]) -> None:
    (place,) = (
        number
        for number, cell in enumerate(notebook.cells)
        if PARAMETERS in cell.metadata.get("tags", ())
    )
    nodes = ast.walk(ast.parse(notebook.cells[place].source))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    unknown = parameters.keys() - names
    if unknown:
        raise KeyError(
            f"{unknown.pop()}: the notebook's parameters are {', '.join(sorted(names))}"
        )
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell("\n".join(lines)))


def tidied(
    notebook: nbformat.NotebookNode, pictures: bool = True
) -> nbformat.NotebookNode:
    """Returns a notebook as it is kept: what it shows, and nothing else of its run.

    Args:
        notebook: changed in place.
        pictures: whether they are made smaller.
    """
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            found = (
                _tidied(output, count, pictures) for output in _joined(cell.outputs)
            )
            cell.outputs = [output for output in found if output]
    return notebook


def _joined(outputs: Sequence[Any]) -> list[Any]:
    """Joins what was written to one stream piece by piece."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _tidied(output: Any, count: int, pictures: bool) -> Any:
    if output.output_type == "stream":
        output.text = plain(output.text)
        return output if output.text else None
    data = output.get("data", {})
    if "image/png" in data and pictures:
        data["image/png"] = smaller(data["image/png"])
    if any("<audio" in text for text in data.get("text/html", "").splitlines()):
        return None  # a megabyte that no page of notebooks plays
    output.metadata = nbformat.from_dict({})
    if output.output_type == "execute_result":
        output.execution_count = count
    return output


def plain(text: str) -> str:
    """Returns what a terminal shows of a text in the end, without colours and bars."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")
    seen = (line.rpartition("\r")[2].rstrip() for line in text.split("\n"))
    lines = [line for line in seen if line and not PROGRESS.search(line)]
    return "\n".join([*lines, ""]) if lines else ""


def smaller(picture: str) -> str:
    """Returns a PNG, base64, with fewer pixels and colours."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        drawn = image.convert("RGB")
    if drawn.width > PICTURE_PIXELS:
        height = round(drawn.height * PICTURE_PIXELS / drawn.width)
        drawn = drawn.resize((PICTURE_PIXELS, height), Image.Resampling.LANCZOS)
    # Of the methods the one that keeps colours of few pixels, such as those of events.
    drawn = drawn.quantize(PICTURE_COLOURS, Image.Quantize.MAXCOVERAGE)
    content = io.BytesIO()
    drawn.save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs notebooks and keeps their outputs; 1 where one of them fails."""
    parser = argparse.ArgumentParser(
        prog="python -m notebooks.execute",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 01; all")
    wanted = tuple(parser.parse_args(argv).names) or ("",)
    chosen = [path for path in paths() if path.name.startswith(wanted)]
    if not chosen:
        print(f"no notebook begins with {' or '.join(wanted)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for path in chosen:
            try:
                notebook = execute(path, Path(folder))
            except CellExecutionError as error:
                print(f"{path.name}: {plain(str(error))}", file=sys.stderr)
                return 1
            nbformat.write(tidied(notebook), path)
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
