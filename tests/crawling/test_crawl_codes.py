"""Every code the crawler can give is in docs/crawler.md, and no others are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import crawler

PACKAGE = Path(crawler.__file__).parent
PAGE = Path(__file__).resolve().parents[2] / "docs" / "crawler.md"
CODE = re.compile(r"[a-z]+(-[a-z]+)+|gone|refused|unreachable|unsettled")


def codes_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            if name.endswith(("Error", "_refusal")) or name in {"ContentProblem", "Refused", "Finding", "Miss"}:
                given = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)]
                yield from (code for code in given if isinstance(code, str) and CODE.fullmatch(code))


def test_every_code_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8").split("## Codes of reasons")[1].split("##")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", text, flags=re.MULTILINE)
    documented = {code for cell in cells for code in re.findall(r"`([^`]+)`", cell)}
    used = {code for path in PACKAGE.glob("*.py") for code in codes_in(path)}
    assert len(used) > 30, "the scan finds too little: does it still know how codes are given?"
    assert sorted(used - documented) == []
    assert sorted(documented - used) == []
