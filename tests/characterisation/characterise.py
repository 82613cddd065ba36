"""What the program writes today, as hashes: a change of one is a change of behaviour, to be explained in CHANGELOG.md.

A case is a command line. Recorded are its exit code, the JSON it prints (without times and paths, floats to five
digits) and the file it writes (numbers of approximations to five digits, archives member by member).

    python tests/characterisation/characterise.py            says what differs from hashes.json
    python tests/characterisation/characterise.py --record   writes hashes.json again
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbmlump import cli, load
from sbmlump.errors import SbmlumpError

HASHES = Path(__file__).with_name("hashes.json")
DATA = Path(__file__).resolve().parents[2] / "data"
EXACT = ("exact", "forward-equivalence", "backward-equivalence", "conservation", "pooling", "none")
ESTIMATED = ("qssa", "quasi-equilibrium", "relation-graph")
CHAINS = ("exact,conservation", "conservation,exact", "conservation,qssa")
SUFFIXES = (".xml", ".ode", ".ant", ".tex", ".omex")
MOST_STATES = 60
_NO_TIMES = frozenset({"seconds", "seconds_original", "seconds_reduced", "output"})
_MARK = re.compile(r"(<!-- |// |% )Created by sbmlump [^\n]*\n")
_MARK = re.compile(r"(<!-- |// |% )Created by sbmlump [^\n]*\n")  # it names the version
_POINTS = re.compile(r"\d+ real points with \d+ patterns")  # doubles choose them, and round as the machine does
_NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?:[eE][-+]?\d+)?|(?<![\w.])\d+[eE][-+]?\d+")


@dataclass(frozen=True, slots=True)
class Case:
    """A command line.

    Attributes
    ----------
    name : str
    arguments : tuple of str
        ``{out}`` stands for the file to be written.
    suffix : str
        Of that file; empty where none is written.
    estimated : bool
        Whether numbers come from integrators, so that the last digits depend on the machine.
    """

    name: str
    arguments: tuple[str, ...]
    suffix: str = ""
    estimated: bool = False


def cases(corpus: Path) -> list[Case]:
    """All cases, in the same order every time."""
    return [*_helps(), *_of_data(), *_of_corpus(corpus)]


def _helps() -> Iterator[Case]:
    yield Case("help", ("--help",))
    for name in cli.cli.list_commands(None):
        yield Case(f"help {name}", (name, "--help"))


def _reduce(path: Path, observable: str, method: str, suffix: str, *more: str, estimated: bool = False) -> Case:
    options = ("--observe", observable, "--method", method, *more, "--seed", "0", "--no-check", "-o", "{out}", "--json")
    name = " ".join(("reduce", path.stem, method, *more, suffix))
    return Case(name, ("reduce", str(path), *options), suffix, estimated)


def _of_data() -> Iterator[Case]:
    for path in sorted(DATA.glob("*.xml")):
        yield Case(f"inspect {path.stem}", ("inspect", str(path), "--structure", "--json"))
        observable = load(path).states[0]
        for method in EXACT:
            yield _reduce(path, observable, method, ".xml")
        yield _reduce(path, observable, "exact", ".xml", "--keep-parameters", "all")
        yield Case(f"check {path.stem}", ("check", str(path), str(path), "--json"), estimated=True)
        yield Case(f"verify {path.stem}", ("verify", str(path), str(path), "--json"))
        for suffix in SUFFIXES:
            yield Case(f"convert {path.stem} {suffix}", ("convert", str(path), "-o", "{out}"), suffix)
    path = DATA / "michaelis_menten.xml"
    for method in (*ESTIMATED, *CHAINS, "learned", "approximate"):
        more = ("--max-size", "2") if method in ("learned", "approximate") else ()
        yield _reduce(path, "P", method, ".xml", *more, estimated=True)


def _of_corpus(corpus: Path) -> Iterator[Case]:
    chosen = _small_models(corpus, 60)
    for number, (path, observable) in enumerate(chosen):
        yield _reduce(path, observable, "exact", ".xml")
        if number % 3 == 0:
            yield _reduce(path, observable, "exact", ".xml", "--keep-parameters", "all")
            yield Case(f"inspect {path.stem}", ("inspect", str(path), "--structure", "--json"))
        method = EXACT[1:][number % (len(EXACT) - 1)]
        yield _reduce(path, observable, method, ".xml")
        if number % 6 == 1:
            method = (*ESTIMATED, *CHAINS)[number // 6 % 6]
            yield _reduce(path, observable, method, ".xml", estimated=True)
        if number % 2 == 0:
            suffix = SUFFIXES[number // 2 % len(SUFFIXES)]
            yield Case(f"convert {path.stem} {suffix}", ("convert", str(path), "-o", "{out}"), suffix)
        if number % 10 == 0:
            yield _reduce(path, observable, "exact", SUFFIXES[number // 10 % len(SUFFIXES)], "--on-class")
    for path in sorted((corpus / "ode").rglob("*.ode"))[:6]:
        yield Case(f"convert {path.stem} ode .xml", ("convert", str(path), "-o", "{out}"), ".xml")


def _small_models(corpus: Path, wanted: int) -> list[tuple[Path, str]]:
    """Models that can be read and have at most ``MOST_STATES`` states, each with one of them to observe."""
    files = sorted((corpus / "biomodels").glob("*.xml"))
    random.Random(20261129).shuffle(files)
    chosen: list[tuple[Path, str]] = []
    for path in files:
        if len(chosen) == wanted:
            break
        if path.stat().st_size > 300_000:
            continue
        try:
            system = load(path)
        except SbmlumpError:
            continue
        if 1 < system.size <= MOST_STATES:
            chosen.append((path, random.Random(path.stem).choice(system.states)))
    return chosen


def fingerprint(case: Case) -> dict[str, Any]:
    """Exit code, hash of what was printed, hash of what was written."""
    with tempfile.TemporaryDirectory(prefix="sbmlump-case-") as folder:
        target = Path(folder) / f"written{case.suffix}"
        arguments = [argument.replace("{out}", str(target)) for argument in case.arguments]
        printed = io.StringIO()
        os.environ["COLUMNS"] = "100"  # the width of help texts
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            code = cli.run(arguments)
        paths = (folder, *(a for a in arguments if "/" in a))
        return {
            "exit": code,
            "printed": _hash(_printed(printed.getvalue(), paths)),
            "written": _hash(_written(target, case.estimated)) if case.suffix and target.exists() else None,
        }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _printed(text: str, paths: Sequence[str]) -> str:
    text = _POINTS.sub("real points", text)
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, Path(path).name if path != paths[0] else "FOLDER")
    if not text.startswith("{"):
        return text
    return json.dumps(_without_times(json.loads(text)), sort_keys=True)


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if key not in _NO_TIMES}
    if isinstance(value, list):
        return [_without_times(one) for one in value]
    if isinstance(value, float):
        return f"{value:.4e}"
    return _rounded(value) if isinstance(value, str) else value


def _written(path: Path, estimated: bool) -> str:
    if path.suffix == ".omex":
        with zipfile.ZipFile(path) as archive:
            members = sorted(archive.namelist())
            text = "\n".join(f"{name}\n{archive.read(name).decode('utf-8', 'replace')}" for name in members)
    else:
        text = path.read_text(encoding="utf-8")
    text = _MARK.sub("", _POINTS.sub("real points", text), count=1)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*?(?=[<\"])", "TIME", text)
    return _rounded(text) if estimated else text


def _rounded(text: str) -> str:
    return _NUMBER.sub(lambda match: f"{float(match.group()):.4e}", text)


def changed(found: dict[str, Any], recorded: dict[str, Any] | None) -> list[str]:
    """Which of exit, printed, written differ."""
    if recorded is None:
        return ["new"]
    return [key for key in found if found[key] != recorded.get(key)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare with, or record, ``hashes.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args(arguments)
    recorded = json.loads(HASHES.read_text()) if HASHES.exists() else {}
    found = {}
    different = 0
    for case in cases(options.corpus.resolve()):
        found[case.name] = fingerprint(case)
        what = changed(found[case.name], recorded.get(case.name))
        if what:
            different += 1
            print(f"{case.name}: {', '.join(what)}", flush=True)
    print(f"{len(found)} cases, {different} differ from what is recorded")
    if options.record:
        HASHES.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
        return 0
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
