"""What commands import: what a person waits for is mostly that."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sbmlump.cli import cli
from sbmlump.cli.help import Commands

DATA = Path(__file__).parents[1] / "data"
SHOWN = """
import json, sys
before = set(sys.modules)
{}
names = {{name.partition(".")[0] for name in set(sys.modules) - before}}
own = {{"sbmlump", "crawler"}}
print("\\n" + json.dumps(sorted(names - own - set(sys.stdlib_module_names))))
"""
RUN = "from sbmlump.cli import run\nassert run({}) == 0"
MODEL = str(DATA / "michaelis_menten.xml")
OPTIONS = {"click", "flint", "lazy_loader", "numpy", "threadpoolctl"}
COMPILED = {"cython_runtime", "swig_runtime_data5"}  # what compiled modules share
READING = OPTIONS | {"libsbml"}


def imported(statement: str) -> set[str]:
    """Packages beside the standard library that a statement imports in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", SHOWN.format(statement)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=120,
    )
    *printed, names = done.stdout.splitlines()
    if "--json" in statement:
        assert json.loads("".join(printed))["outcome"]  # and HiGHS prints nothing beside it
    names = {name for name in json.loads(names) if not name.startswith("_")}
    return names - COMPILED


@pytest.mark.parametrize(
    ("arguments", "may"),
    [
        (["--version"], {"click"}),
        (["--help"], {"click"}),
        (["reduce", "--help"], OPTIONS),
        (["inspect", MODEL], READING),
        (["verify", MODEL, MODEL], READING),
        (["reduce", str(DATA / "clue_example.xml"), "--observe", "x1", "--no-check", "--json"], READING),
        (["reduce", MODEL, "--observe", "P", "--no-check", "--json"], READING | {"highspy"}),
        (
            ["reduce", str(DATA / "multisite_2.xml"), "--observe", "kinase", "--no-check", "--json"],
            READING | {"highspy"},
        ),
        (["reduce", MODEL, "--observe", "P", "--json", "-o", "OUT"], READING | {"highspy"}),  # and simulates both
        (["inspect", MODEL, "--structure"], READING | {"highspy"}),
        (["convert", MODEL, "-o", "OUT"], READING),
    ],
    ids=lambda one: " ".join(one[:2]) if isinstance(one, list) else "",
)
def test_a_command_imports_what_it_uses(tmp_path, arguments, may):
    arguments = [str(tmp_path / "out.xml") if one == "OUT" else one for one in arguments]
    found = imported(RUN.format(arguments))
    assert found <= may


def test_importing_the_package_imports_nothing_else():
    assert imported("import sbmlump") == set()


def test_the_list_of_commands_says_what_each_command_says():
    def listed(how, width):
        formatter = click.HelpFormatter(width=width)
        how(cli, click.Context(cli), formatter)
        return formatter.getvalue()

    for width in (50, 80, 300):
        assert listed(type(cli).format_commands, width) == listed(Commands.format_commands, width)
