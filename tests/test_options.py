"""Options from Python: every form that means the same does the same, anything else is refused in one way."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from child_jobs import write

import sbmlump
from sbmlump.cli import run
from sbmlump.errors import UsageError
from sbmlump.examples import network_from_reactions
from sbmlump.methods import METHODS, OPTIONS, ReduceOptions, methods_with
from sbmlump.model import OdeSystem
from sbmlump.options import declared


def enzyme() -> OdeSystem:
    return network_from_reactions(
        [("E + S -> ES", "on"), ("ES -> E + S", "off"), ("ES -> E + P", "cat")],
        initial={"E": 1, "S": 8, "ES": 0, "P": 0},
        constants={"on": 20, "off": 5, "cat": 2},
    )


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        (
            {"method": "qssa", "fast": "ES", "until": 1.0, "ensemble": 0},
            {"method": ["qssa"], "fast": ["ES"], "until": 1, "ensemble": 0},
        ),
        ({"method": "exact,conservation"}, {"method": ["exact", "conservation"]}),
        ({"method": "conservation", "totals": ("E + ES",)}, {"method": "conservation", "totals": "E + ES"}),
        ({"reconstruct": "E"}, {"reconstruct": ("E",)}),
        ({"keep_parameters": "on,off"}, {"keep_parameters": {"on", "off"}}),
        ({"seed": 3, "until": 5.0}, {"seed": np.int64(3), "until": np.float64(5.0)}),
    ],
)
def test_lists_and_texts_do_the_same(text: dict[str, object], listed: dict[str, object]) -> None:
    system = enzyme()
    first, second = (sbmlump.reduce(system, ["P"], **options) for options in (text, listed))  # type: ignore[arg-type]
    assert first.system.states == second.system.states
    assert first.method == second.method


def test_a_text_is_one_observable() -> None:
    system = enzyme()
    assert [one.id for one in sbmlump.reduce(system, "ES").observables] == ["ES"]
    assert [one.text for one in sbmlump.reduce(system, "E + ES").observables] == ["E + ES"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("until", "20"),
        ("until", -1.0),
        ("until", True),
        ("until", float("nan")),
        ("points", 1),
        ("points", 2.5),
        ("seed", -1),
        ("max_size", "2"),
        ("max_size", 0),
        ("max_error", "small"),
        ("ensemble", 1.5),
        ("spread", None),
        ("refine", "yes"),
        ("fast", 3),
        ("fast", ["ES", 3]),
        ("method", 1),
        ("method", [["exact"]]),
        ("keep_parameters", 5),
        ("keep_parameters", None),
        ("totals", [1]),
        ("reconstruct", True),
        ("lumping", 1),
        ("observe", 1),
        ("observe", ["P", None]),
        ("observe", b"P"),
    ],
)
def test_anything_else_is_refused_with_what_is_taken(option: str, value: object) -> None:
    chosen = {"observe": ["P"], option: value}
    with pytest.raises(UsageError) as caught:
        sbmlump.reduce(enzyme(), **chosen)  # type: ignore[arg-type]
    (reason,) = caught.value.reasons
    assert reason.code in ("bad-option", "bad-horizon", "bad-grid")
    assert reason.message.startswith(option)
    assert repr(value) in reason.message


def test_every_option_is_looked_at() -> None:
    class Strange:
        pass

    for name in OPTIONS:
        with pytest.raises(UsageError):
            sbmlump.reduce(enzyme(), "P", **{name: Strange()})
        for options in (ReduceOptions, *METHODS.values()):
            if name in declared(options):
                with pytest.raises(UsageError):
                    options(**{name: Strange()})


@pytest.mark.parametrize(
    ("command", "option", "value", "code"),
    [
        ("reduce check curve compare-methods survey", "until", "-1", "bad-horizon"),
        ("reduce check", "points", "1", "bad-grid"),
        ("reduce check", "simulator", "none", "unknown-simulator"),
        ("reduce curve compare-methods survey", "ensemble", "-1", "bad-option"),
        ("reduce curve compare-methods survey", "max_size", "0", "bad-option"),
        ("reduce compare-methods survey", "algorithm", "magic", "bad-option"),  # curve draws one more line
        ("reduce verify curve compare-methods survey", "seed", "-1", "bad-option"),
        ("reduce compare-methods survey", "method", "magic", "unknown-method"),
    ],
)
def test_one_mistake_has_one_message_everywhere(
    command: str, option: str, value: str, code: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(data / "michaelis_menten.xml")
    arguments = {
        "check": [model, model],
        "verify": [model, model],
        "survey": [str(data), "-o", str(tmp_path / "results")],
    }
    told = set()
    for name in command.split():
        words = [
            name,
            *arguments.get(name, [model, "--observe", "P"]),
            f"--{option.replace('_', '-')}",
            value,
            "--json",
        ]
        assert run(words) == 2
        (reason,) = json.loads(capsys.readouterr().out)["reasons"]
        assert reason["code"] == code
        told.add(reason["message"])
    with pytest.raises(UsageError) as caught:
        sbmlump.reduce(enzyme(), "P", **{option: int(value) if value.lstrip("-").isdigit() else value})
    told.add(caught.value.reasons[0].message)
    assert len(told) == 1


def test_the_page_of_methods_is_that_of_the_registry() -> None:
    page = (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")
    for name, method in METHODS.items():
        assert f"| `{name}` |" in page
        assert f"| {method.vouched} |" in page
    for name, each in OPTIONS.items():
        if methods_with(name):
            assert f"| `{name}` | {', '.join(methods_with(name))} |" in page
            assert each.option.help in page


def test_a_chain_is_written_with_plus() -> None:
    system = enzyme()
    plus, commas = (sbmlump.reduce(system, "P", method) for method in ("exact+conservation", "exact,conservation"))
    assert plus.system.states == commas.system.states
    assert plus.method == commas.method == "exact+conservation"
    assert "chain-with-commas" not in {reason.code for reason in plus.reasons}
    assert "chain-with-commas" in {reason.code for reason in commas.reasons}


def test_only_approximate_methods_take_the_bound() -> None:
    system = enzyme()
    found = sbmlump.reduce(system, "P", "approximate", max_size=2, until=2.0, ensemble=2, bound=True)
    assert "bound_note" in found.certificate.as_json()
    unused = sbmlump.reduce(system, "P", bound=True).reasons
    assert [reason.message for reason in unused] == ["--bound has no effect: it is an option of approximate"]


@pytest.mark.parametrize("observed", ["all = S + ES + P", "r3"])
def test_every_pair_of_exact_methods_has_a_result(observed: str) -> None:
    names = ("none", "exact", "forward-equivalence", "backward-equivalence", "conservation", "pooling")
    system = enzyme()
    for pair in product(names, names):
        found = sbmlump.reduce(system, observed, list(pair))
        assert set(found.system.definitions) >= {one.id for one in found.observables}, pair


def test_a_reduction_writes_itself_in_another_process(tmp_path: Path) -> None:
    reduction = sbmlump.reduce(enzyme(), "P", "conservation")
    reduction.write(tmp_path / "here.xml")
    (tmp_path / "reduction").write_bytes(pickle.dumps(reduction))
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb')).write(sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, tmp_path / "reduction", tmp_path / "there.xml"], check=True)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(write, reduction, str(tmp_path / "worker.xml")).result()
    expected = (tmp_path / "here.xml").read_bytes()
    assert (tmp_path / "there.xml").read_bytes() == expected
    assert (tmp_path / "worker.xml").read_bytes() == expected
