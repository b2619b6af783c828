"""What the site shows besides the pages in this folder: help texts, settings, notebooks.

mkdocs calls these functions while it builds (`hooks` in mkdocs.yml). A page asks for the
help of a command by a line `<!-- help: detect -->` and for a piece of source, comments
and all, by `<!-- source: jaxsed/optim.py DEFAULTS -->`, so that both are always the real
ones.
"""

import ast
import base64
import json
import os
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
HELP = re.compile(r"^<!-- help: (\w+) -->$", re.MULTILINE)
SOURCE = re.compile(r"^<!-- source: (\S+) (\w+) -->$", re.MULTILINE)
BADGE = re.compile(
    r"\[!\[[^\]]*\]\([^)]*badge[^)]*\)\]\([^)]*\)"
)  # is fetched from elsewhere
HERE = re.compile(r"https://github\.com/[^/\s]+/[^/\s]+/blob/main/(docs|notebooks)/")
HELP_COLUMNS = "88"  # whatever the terminal


def on_config(config):
    """Adds the notebooks that there are to the navigation, behind the guides."""
    pages = [{title_of(path): page_of(path)} for path in notebooks()]
    if pages:
        names = [next(iter(entry)) for entry in config.nav]
        config.nav.insert(names.index("Guides") + 1, {"Notebooks": pages})
    return config


def on_files(files, config):
    """Adds a page for every notebook, with the outputs that were kept in it."""
    from mkdocs.structure.files import File

    for path in notebooks():
        text, pictures = to_markdown(path)
        files.append(File.generated(config, page_of(path), content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown, **_):
    """Puts help and source where a page asks for them."""
    markdown = HELP.sub(lambda found: fenced(help_of(found[1]), "text"), markdown)
    return SOURCE.sub(lambda found: fenced(source_of(*found.groups()), "py"), markdown)


def help_of(command: str) -> str:
    """Returns what `jaxsed COMMAND --help` prints; of `train`, the doc of jaxsed.main."""
    from jaxsed import cli, main

    if command == "train":
        return main.__doc__.strip()
    os.environ["COLUMNS"] = HELP_COLUMNS
    (subcommands,) = cli.build_parser()._subparsers._group_actions
    return subcommands.choices[command].format_help()


def source_of(file: str, name: str) -> str:
    """Returns the lines of a file that define a name at its top level."""
    text = (ROOT / file).read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        targets = getattr(node, "targets", [getattr(node, "target", node)])
        names = {getattr(one, "id", getattr(one, "name", None)) for one in targets}
        if name in names:
            return "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])
    raise ValueError(f"{file} defines no {name}")


def notebooks() -> list[Path]:
    """Returns the notebooks in the order of their names, which begin with numbers."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def page_of(path: Path) -> str:
    """Returns where a notebook's page lies, relative to this folder."""
    return f"notebooks/{path.stem}.md"


def title_of(path: Path) -> str:
    """Returns the first heading of a notebook, or its file name."""
    text, _ = to_markdown(path)
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1] if found else path.stem


def to_markdown(path: Path) -> tuple[str, dict[str, bytes]]:
    """Returns a notebook as Markdown, and its pictures by file name."""
    parts, pictures = [], {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(for_the_site(source))
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(fenced(source, "python"))
            for output in cell["outputs"]:
                name = f"{path.stem}_{len(pictures)}.png"
                parts.append(output_of(output, name, pictures))
    return "\n\n".join(filter(None, parts)) + "\n", pictures


def for_the_site(text: str) -> str:
    """Returns a cell's text without badges, its links to this repository as the site's."""

    def page(found):
        return "../" if found[1] == "docs" else ""

    text = HERE.sub(page, BADGE.sub("", text)).strip()
    return re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", text)


def output_of(output: dict, name: str, pictures: dict[str, bytes]) -> str:
    """Returns an output as Markdown; a picture goes into `pictures` by this name."""
    data = output.get("data", {})
    if "image/png" in data:
        pictures[name] = base64.b64decode("".join(data["image/png"]))
        return f"![output]({name})"
    text = "".join(output.get("text", data.get("text/plain", "")))
    return fenced(text, "text") if text.strip() else ""


def fenced(text: str, language: str) -> str:
    """Returns text as a block of code, whatever it holds."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
