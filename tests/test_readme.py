"""The code blocks of the README and of the first pages of the site, as a reader would run them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """Code blocks of one language, in the order of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [body for name, body in BLOCK.findall(text) if name == language]


def commands(page: str) -> list[list[str]]:
    """Words of the lines of a page's shell blocks that call sbmlump."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [line for line in lines if line[:1] == ["sbmlump"]]


@pytest.fixture
def folder(tmp_path: Path, data: Path) -> Path:
    """A folder with a model that is called as in the README."""
    shutil.copy(data / "multisite_2.xml", tmp_path / "model.xml")
    return tmp_path


def run(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MPLBACKEND": "Agg"}
    return subprocess.run(
        words, check=False, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300
    )


def test_commands_of_the_readme_run(folder: Path) -> None:
    called = commands("README.md")
    assert {words[1] for words in called} == {"demo", "inspect", "reduce", "verify"}
    for words in called:
        done = run(folder, [sys.executable, "-m", *words])
        assert done.returncode == 0, (words, done.stderr)
    assert {"small.xml", "page", "demo"} <= {path.name for path in folder.iterdir()}


def test_python_of_the_readme_runs(folder: Path) -> None:
    codes = blocks("README.md", "python")
    assert codes
    done = run(folder, [sys.executable, "-c", "\n".join(codes)])
    assert done.returncode == 0, done.stderr
    assert (folder / "compare.png").stat().st_size > 0
    assert "kinase = 1*kinase" in done.stdout


def test_tellurium_as_the_site_says(folder: Path) -> None:
    pytest.importorskip("tellurium", reason="needs the extra tellurium")
    run(folder, [sys.executable, "-m", "sbmlump", "reduce", "model.xml", "--observe", "kinase", "-o", "small.xml"])
    codes = [code.replace("RAS_GTP", "kinase") for code in blocks("docs/start/tellurium.md", "python")]
    assert codes
    done = run(folder, [sys.executable, "-c", "\n".join(codes)])
    assert done.returncode == 0, done.stderr
    assert "species" in done.stdout


@pytest.mark.parametrize(
    "page",
    ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))],
)
def test_commands_on_every_page_have_options_that_exist(page: str) -> None:
    """What stands in shell blocks is not run everywhere, but each command takes the options it is given."""
    from click import Context
    from click.exceptions import UsageError

    from sbmlump.cli import cli

    for words in commands(page):
        if "|" in words or len(words) < 2 or words[1].isupper():
            continue
        context = Context(cli, info_name="sbmlump")
        name, command, rest = cli.resolve_command(context, words[1:])
        assert command is not None, words
        try:
            command.make_parser(Context(command, info_name=name, parent=context)).parse_args(list(rest))
        except UsageError as error:
            pytest.fail(f"{page}: {' '.join(words)}: {error.format_message()}")
