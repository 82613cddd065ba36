"""Steady states and control coefficients that other tools find, of a model and its reduced form."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from control_analysis import Analyse, compare_analyses, copasi_analysis, directions, roadrunner_analysis
from network_models import saved, twin_chains

import sbmlump
from sbmlump.jobs import written_as_sbml
from sbmlump.model import OdeSystem, ReducedSystem

TOOLS = {
    "moieties": ("roadrunner", roadrunner_analysis(moieties=True)),
    "copasi": ("basico", copasi_analysis),
}


def tool_named(name: str) -> Analyse:
    library, tool = TOOLS[name]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    return tool


def reduction_of(data: Path) -> tuple[ReducedSystem, str, str, OdeSystem]:
    path = data / "multisite_2.xml"
    reduction = sbmlump.reduce(sbmlump.load(path), ["kinase"])
    written = written_as_sbml(reduction)
    assert written.read_back is not None
    return reduction, path.read_text(), written.data.decode(), written.read_back.required()


@pytest.mark.parametrize("name", ["moieties", "copasi"])
def test_the_reduced_model_has_the_steady_state_and_is_controlled_alike(data: Path, name: str) -> None:
    tool = tool_named(name)
    found = compare_analyses(*reduction_of(data), 50.0, tool)
    assert found.remarks == []
    for value in (found.steady, found.concentration, found.flux):
        assert value is not None
        assert value <= 1e-6


@pytest.mark.parametrize("name", ["moieties", "copasi"])
def test_another_model_is_told_from_it(data: Path, name: str) -> None:
    """The check can fail: one rate constant of the reduced model is changed by a thousandth."""
    tool = tool_named(name)
    reduction, original, reduced, system = reduction_of(data)
    changed = re.sub(r'(<parameter [^>]*id="a1"[^>]*value=)"2"', r'\1"2.002"', reduced)
    assert changed != reduced
    found = compare_analyses(reduction, original, changed, system, 50.0, tool)
    assert found.steady is not None
    assert found.steady > 2e-6


def test_reactions_are_grouped_by_what_they_do_to_the_lumps(tmp_path: Path) -> None:
    path = saved(tmp_path, twin_chains())
    reduction = sbmlump.reduce(sbmlump.load(path), ["C"])
    groups = [set(one) for one in directions(reduction.original, reduction.matrix.array()).values()]
    assert {"r1", "r2"} in groups
    assert {"s1", "s2"} in groups
    lengths = directions(reduction.original, np.eye(reduction.original.size))
    assert all(len(one) == 1 for one in lengths.values())
