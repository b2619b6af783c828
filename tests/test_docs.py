"""What the documentation tells people to type exists, and its links lead somewhere."""

import argparse
import ast
import importlib
import importlib.util
import json
import pkgutil
import re
import shlex
import sys
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from jaxsed import cli, main
from jaxsed.inference import detect_command
from jaxsed.weights import zoo

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
PLACEHOLDERS = {"LAYOUT": "own", "NAME_OR_JSON": "audioset_527", "N": "1", "I/N": "0/1"}
OWN_MODELS = ("MODEL", "NAME", "atst")  # of the reader
MAIN = ("python", "-m", "jaxsed.main")
HEADING = re.compile(r"^#{1,6} (.+)$")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"(`+)(.+?)\1")
FENCE = re.compile(r"^\s*(`{3,})(\w*)")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def split(page):
    """The prose of a page, line by line, and its blocks of code as (language, text)."""
    prose, blocks, fence = [], [], None
    after_blank = True
    for line in page.read_text(encoding="utf-8").splitlines():
        found = FENCE.match(line)
        if fence:
            if found and found[1] == fence:
                fence = None
            else:
                blocks[-1][1].append(line)
        elif found:
            fence = found[1]
            blocks.append((found[2], []))
        elif line.startswith("    ") and (after_blank or after_blank is None):
            if after_blank:
                blocks.append(("", []))
            blocks[-1][1].append(line)
            after_blank = None  # inside an indented block
            continue
        else:
            prose.append(line)
        after_blank = not line.strip()
    return prose, [(language, "\n".join(lines)) for language, lines in blocks]


def anchors(page):
    prose, _ = split(page)
    headings = [found[1] for found in map(HEADING.match, prose) if found]
    texts = [LINK.sub(lambda m: m[0][1 : m[0].index("]")], text) for text in headings]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


@pages
def test_links_lead_somewhere(page):
    prose, _ = split(page)
    for target in LINK.findall("\n".join(SPAN.sub("", line) for line in prose)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), target
        inside = page == ROOT / "README.md" or file.is_relative_to(DOCS)
        assert inside, f"{target} is not on the site"
        if anchor:
            assert anchor in anchors(file), target


def test_the_site_shows_every_page():
    shown = re.findall(r": (\S+\.md)$", SETTINGS, re.MULTILINE)
    assert sorted(shown) == sorted(
        page.relative_to(DOCS).as_posix() for page in PAGES[1:]
    ), "list new pages under `nav` in mkdocs.yml"


def commands(page):
    """What the page says to type, and whether it only mentions it in the text."""
    prose, blocks = split(page)
    for language, text in blocks:
        if language in ("", "bash", "sh", "yaml"):
            for line in re.sub(r"\\\n\s*", " ", text).splitlines():
                # A list in YAML may go on in the next line.
                yield from ((words, language == "yaml") for words in starts(line))
    for line in prose:
        for _, span in SPAN.findall(line):
            yield from ((words, True) for words in starts(span))


def starts(line):
    """The words of each jaxsed command in a line, wherever it begins."""
    line = re.sub(r"^\s*(\$|>) ", "", line)
    if re.match(r"\s*(command: \[|sh -c)", line):
        line = re.sub(r"[\[\],']", " ", line)
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quotation that ends on another line
        words = line.replace('"', " ").replace("'", " ").split()
    words = [Path(word).name if word.endswith("/jaxsed") else word for word in words]
    for place, word in enumerate(words):
        rest = words[place + 1 :]
        ends = [
            i for i, w in enumerate(rest) if w in (">", "2>&1", "&", "&&", "|", "||")
        ]
        rest = [w.rstrip(";") for w in rest[: min(ends, default=len(rest))]]
        if word == "jaxsed" and rest and rest[0] in cli.COMMANDS:
            yield ["jaxsed", *rest]
        elif word.startswith("python") and rest[:1] == ["-m"] and len(rest) > 1:
            yield ["python", *rest]


@pages
def test_what_it_says_to_type_is_understood(page, monkeypatch):
    for words, mention in commands(page):
        if words[0] == "jaxsed":
            check_command(words[1:], mention, monkeypatch)
        elif words[:3] == list(MAIN):
            check_training(words[3:], mention, monkeypatch)
        else:
            assert importlib.util.find_spec(words[2]), words


def check_command(words, mention, monkeypatch):
    words = [part for word in words for part in variants(word)]
    plan = words[0] == "plan"
    configs = [w for w in words if w.startswith("--config")] if plan else []
    words = [w for w in words if not w.startswith("--config.") and w != "--help"]
    monkeypatch.setattr(argparse.ArgumentParser, "error", refuse)
    try:
        args, others = cli.build_parser().parse_known_args(words)
    except AssertionError as error:
        incomplete = re.search("are required|expected one argument", str(error))
        assert mention and incomplete, error
        return
    assert not others, words
    if configs:
        check_training([*configs, "--workdir=."], mention, monkeypatch)
    if args.command == "detect":
        assert set(args.format.split(",")) <= set(detect_command.FORMATS), words
    names = [args.weights] if args.command == "detect" else getattr(args, "names", [])
    for name in names:
        if "/" not in name and name not in OWN_MODELS:
            zoo.find(name)  # refuses a name that nothing released has


def variants(word):
    """`a|b|...` stands for any of them; `[--x` and `y]` are words in usage lines."""
    word = word.strip("[]").split("|")[0]
    return [PLACEHOLDERS.get(word, word)] if word not in ("", "...") else []


def refuse(parser, message):
    raise AssertionError(f"{parser.prog}: {message}")


def check_training(words, mention, monkeypatch):
    if not mention and "..." not in words:  # typed as it stands there
        flags_given = {word.partition("=")[0] for word in words}
        assert {"--config", "--workdir"} <= flags_given, words
    words = [word for word in words if word != "..." and not word.endswith("=...")]
    found = [word for word in words if word.startswith("--config=")]
    if not found:
        words = ["--config=configs/debug.py", *words]
    words = [re.sub(r"(?<=[,:])\w+=[^,]*\$[^,]*,?", "", word) for word in words]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    for name in ("workdir", "coordinator", "num_processes", "process_id"):
        flags.DEFINE_string(name, None, "", flag_values=values)
    flags.DEFINE_boolean("multihost", False, "", flag_values=values)
    monkeypatch.setattr(sys, "argv", ["main", *words])
    monkeypatch.chdir(ROOT)
    try:
        left = values(["main", *words])
    except Exception as error:
        raise AssertionError(f"{words}: {error}") from error
    assert left == ["main"], words
    assert values["config"].value is not None


def test_training_has_the_flags_that_are_checked():
    known = {"config", "workdir", "multihost", "coordinator", "num_processes"}
    assert known | {"process_id"} <= {
        flag.name for flag in flags.FLAGS.flags_by_module_dict()[main.__name__]
    }


def typed_by_people():
    """Everything that says what to install and from where, by file."""
    files = [*PAGES, ROOT / "setup.py", *sorted((ROOT / "notebooks").glob("*.ipynb"))]
    return {
        str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files
    }


def test_extras_are_those_of_setup():
    setup = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    (extras,) = (
        set(ast.literal_eval(node.value))
        for node in setup.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "EXTRAS"
    )
    named = set()
    for file, text in typed_by_people().items():
        found = re.findall(r"(?:jaxsed|['\"]\.)\[([\w,]+)\]", text)
        names = {name for names in found for name in names.split(",")}
        assert names <= extras, file
        named |= names
    assert {"cuda", "tpu", "report"} <= named


def test_the_repository_has_one_address():
    owners = {
        owner: file
        for file, text in typed_by_people().items()
        for owner in re.findall(r"github(?:\.com)?/([\w-]+)/jaxsed\b", text)
        if file != "docs/releasing.md"  # which says how it is put in
    }
    assert len(owners) == 1, owners


@pages
def test_python_is_understood(page):
    _, blocks = split(page)
    for language, text in blocks:
        if language not in ("python", "py"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    found = hasattr(module, alias.name) or importlib.util.find_spec(
                        f"{node.module}.{alias.name}"
                    )
                    assert found, f"{node.module} has no {alias.name}"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "page", sorted((DOCS / "reference").glob("*.md")), ids=lambda p: p.stem
)
def test_the_reference_is_of_what_there_is(page, hooks):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE):
        assert pkgutil.resolve_name(name).__doc__, name
    shown = hooks.on_page_markdown(text)
    assert "<!--" not in shown and shown.count("\n") >= text.count("\n")


def test_every_command_is_in_the_reference():
    text = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    asked = re.findall(r"<!-- help: (\w+) -->", text)
    assert sorted(asked) == sorted([*cli.COMMANDS, "train"])


def test_a_notebook_becomes_a_page_that_asks_for_nothing(hooks, tmp_path):
    link = "https://github.com/OWNER/jaxsed/blob/main/docs/plan.md#a"
    badge = "[![Colab](https://x.org/colab-badge.svg)](https://x.org)"
    text = [f"# Title\n{badge}\n", f"[plan]({link}) [next](02_b.ipynb)"]
    outputs = [
        {"output_type": "stream", "text": ["```\n"]},
        {"output_type": "display_data", "data": {"image/png": "aGVsbG8="}},
    ]
    cells = [
        {"cell_type": "markdown", "source": text},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": outputs},
    ]
    path = tmp_path / "01_a.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    page, pictures = hooks.to_markdown(path)
    assert hooks.title_of(path) == "Title"
    assert "[plan](../plan.md#a) [next](02_b.md)" in page and "x.org" not in page
    assert "````text\n```\n````" in page and "```python\n1 + 1\n```" in page
    assert pictures == {"01_a_0.png": b"hello"} and "(01_a_0.png)" in page


def test_makes_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    for page in PAGES:
        _, blocks = split(page)
        for _, text in blocks:
            for line in re.findall(r"^\s*make ((?:\w+ ?)+)", text, re.MULTILINE):
                assert set(line.split()) <= targets, f"{page}: make {line}"
