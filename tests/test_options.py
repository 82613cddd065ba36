"""Options from Python: every form that means the same does the same, anything else is refused in one way."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from child_jobs import write

import sbmlump
from sbmlump.errors import UsageError
from sbmlump.examples import network_from_reactions
from sbmlump.methods.registry import ReduceOptions
from sbmlump.model.system import OdeSystem


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

    for each in fields(ReduceOptions):
        with pytest.raises(UsageError):
            ReduceOptions(**{each.name: Strange()})


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
