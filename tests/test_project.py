"""The project's own papers: versions agree, codes are documented, no traces of a machine."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import sbmlump
import sbmlump._version
from sbmlump._version import __version__

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(sbmlump._version.__file__).parent
CODE = re.compile(r"[a-z]+(-[a-z]+)*(:[A-Z]+)?")
MAKERS = {"Reason", "_fail", "MathProblem"}
TEXT_SUFFIXES = {
    ".bib",
    ".cff",
    ".css",
    ".html",
    ".ipynb",
    ".js",
    ".json",
    ".md",
    ".py",
    ".svg",
    ".toml",
    ".txt",
    ".xml",
    ".yaml",
    ".yml",
    "",
}


def codes_in(path: Path) -> Iterator[str]:
    """Codes given literally to whatever makes reasons, and to ``problems.add``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name.split(".")[-1] not in MAKERS and not name.endswith("problems.add"):
            continue
        given = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "code")]
        yield from (each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str))


def test_every_code_is_documented() -> None:
    text = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)
    used = {code for path in PACKAGE.rglob("*.py") for code in codes_in(path)}
    assert len(documented) == len(set(documented))
    assert [code for code in documented if not CODE.fullmatch(code)] == []
    assert used, "the scan finds no code at all: does it still know how reasons are made?"
    assert sorted(used - set(documented)) == []


def test_a_name_has_one_owner() -> None:
    """No class, and no function for others, is called like another one: who looks for it finds it once."""
    owners: dict[str, list[str]] = {}
    for path in sorted((*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "crawler").rglob("*.py"))):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            hidden = isinstance(node, ast.FunctionDef) and node.name.startswith("_")
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not hidden:
                owners.setdefault(node.name, []).append(path.name)
    assert {name: files for name, files in owners.items() if len(files) > 1} == {}


def test_versions_agree() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))["version"] == __version__
    assert f'set version = "{__version__}"' in (ROOT / "packaging/conda/meta.yaml").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_recipe_asks_for_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = (
        (ROOT / "packaging/conda/meta.yaml")
        .read_text(encoding="utf-8")
        .partition("  run:\n")[2]
        .partition("\ntest:")[0]
    )
    asked = {line.strip("- ").replace(" ", "") for line in recipe.splitlines() if line.startswith("    - ")}
    assert asked == {"python>=3.11", *(each.replace(" ", "") for each in project["dependencies"])}


def test_what_processes_print_is_read_as_utf_8() -> None:
    """The locale is no guide: COPASI sets it to C for the whole process when it is imported."""
    unsaid = []
    for path in own_texts():
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    words = {word.arg for word in node.keywords}
                    if words & {"text", "universal_newlines"} and {"capture_output", "stdout", "stderr"} & words:
                        unsaid += [f"{path.name}:{node.lineno}"] * ("encoding" not in words)
    assert unsaid == []


def test_every_citation_of_the_paper_has_a_reference() -> None:
    cited = set(re.findall(r"@([A-Za-z]+\d{4}\w*)", (ROOT / "paper/paper.md").read_text(encoding="utf-8")))
    listed = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "paper/paper.bib").read_text(encoding="utf-8"), re.MULTILINE))
    assert cited == listed


def test_the_reference_of_python_has_every_name() -> None:
    text = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto(?:function|class|exception):: (\w+)", text, re.MULTILINE))
    assert listed == set(sbmlump.__all__) - {"__version__"}


def test_every_page_of_the_site_can_be_found() -> None:
    """Each is in a table of contents."""
    docs = ROOT / "docs"
    named: set[Path] = {docs / "index.md"}
    for page in docs.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            named |= {(page.parent / f"{entry}.md").resolve() for entry in entries}
    assert sorted(set(docs.rglob("*.md")) - named) == []


def test_the_sdist_holds_everything() -> None:
    """Every folder and file of the working copy that is no build and no package stands in MANIFEST.in."""
    lines = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    named = {name for line in lines if line.startswith(("graft ", "include ")) for name in line.split()[1:]}
    of_itself = {"sbmlump", "crawler", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"}
    made = {"build", "dist", "demo"}
    kinds = {"", ".cff", ".in", ".md", ".toml", ".yml"}
    kinds = {"", ".cff", ".in", ".json", ".md", ".toml", ".yml"}
    there = {path.name for path in ROOT.iterdir() if not path.name.startswith((".", "_")) and path.suffix in kinds}
    assert there - of_itself - made - named == set()


def own_texts() -> list[Path]:
    folders = [
        ROOT / name for name in ("benchmarks", "crawler", "data", "docs", "packaging", "paper", "reports", "tests")
    ] + [PACKAGE]
    paths = [path for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    paths += [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]  # of a worktree
    return [path for path in paths if path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts]


def test_no_traces_of_a_machine() -> None:
    """No absolute path of a home or a working folder in anything that is committed."""
    trace = re.compile("|".join(["/" + "work/", "/" + "home/", "/" + "root/", "/" + "Users/", "find-" + "links"]))
    found = [str(path) for path in own_texts() if trace.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert found == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "data/README.md"])
def test_links_within_the_project_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    missing = [t for t in targets if not (ROOT / page).parent.joinpath(t).exists()]
    assert missing == []
