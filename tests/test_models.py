"""Models built in Python against closed statements about them, and against the SBML files written by hand."""

from __future__ import annotations

import runpy
from fractions import Fraction
from pathlib import Path

import libsbml
import numpy as np
import pytest
import roadrunner
from strategies import exact_value

import sbmlump
from sbmlump import examples
from sbmlump.model import OdeSystem

BUILDERS = {
    "clue_example": examples.clue_example,
    "michaelis_menten": examples.michaelis_menten,
    "multisite_1": lambda: examples.multisite(1),
    "multisite_2": lambda: examples.multisite(2),
    "rational_example": examples.rational_example,
    "ring": examples.ring,
    "sir_age_groups": examples.sir_age_groups,
    "squares_example": examples.squares_example,
}


def lumped(system: OdeSystem, rows: list[dict[str, int]], seed: int = 0) -> bool:
    """Whether two random states with the same sums have the same rates of the sums."""
    draw = np.random.default_rng(seed)
    matrix = np.zeros((len(rows), system.size))
    for i, row in enumerate(rows):
        for name, value in row.items():
            matrix[i, system.state_index[name]] = value
    x = draw.uniform(0.5, 1.5, system.size)
    step = draw.uniform(-0.2, 0.2, system.size)
    step -= np.linalg.pinv(matrix) @ (matrix @ step)
    a, b = (matrix @ system.rates(0.0, point) for point in (x, x + step))
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-9)) and bool(np.abs(step).max() > 1e-3 or len(rows) == system.size)


def site_counts(sites: int) -> list[dict[str, int]]:
    """The six lumps of the multisite model: sites in each state, and the two free enzymes."""
    names = examples.multisite(sites).states[:-2]
    rows = [{name: name[2:].count(letter) for name in names if letter in name[2:]} for letter in "UPEF"]
    return [*rows, {"kinase": 1}, {"phosphatase": 1}]


@pytest.mark.parametrize("sites", [1, 2, 3])
def test_multisite_counts_of_sites_are_a_lumping(sites: int) -> None:
    system = examples.multisite(sites)
    assert system.size == 4**sites + 2
    assert lumped(system, site_counts(sites))


def test_noise_breaks_the_lumping_and_depends_on_the_seed_only() -> None:
    one = examples.multisite(2, noise=Fraction(1, 20), seed=3)
    same = examples.multisite(2, noise=Fraction(1, 20), seed=3)
    other = examples.multisite(2, noise=Fraction(1, 20), seed=4)
    x = np.linspace(0.1, 1.0, one.size)
    assert not lumped(one, site_counts(2))
    assert np.array_equal(one.rates(0, x), same.rates(0, x))
    assert not np.array_equal(one.rates(0, x), other.rates(0, x))
    assert np.allclose(one.rates(0, x), examples.multisite(2).rates(0, x), rtol=0, atol=0.05 * 40)


@pytest.mark.parametrize("noise", [None, Fraction(1, 10)])
def test_multisite_reactions_add_up_to_its_rates(noise: Fraction | None) -> None:
    system = examples.multisite(2, with_reactions=True, noise=noise)
    assert len(system.reactions) == 6 * 2 * 4
    graph = system.graph
    values = {name: Fraction(i + 1, 7) for i, name in enumerate([*system.states, *(c.id for c in system.constants)])}
    totals = dict.fromkeys(system.states, Fraction(0))
    for reaction in system.reactions:
        flux = exact_value(graph, reaction.flux, values)
        for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
            for part in side:
                totals[part.species] += sign * flux * graph.number_of(part.stoichiometry)
    assert totals == {s: exact_value(graph, root, values) for s, root in zip(system.states, system.rhs, strict=True)}


def test_multisite_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="at least one site"):
        examples.multisite(0)
    with pytest.raises(ValueError, match="noise"):
        examples.multisite(1, noise=1)
    with pytest.raises(ValueError, match="unknown rate k9"):
        examples.multisite(1, rates={"k9": 1})


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("clue_example", [{"x1": 1}, {"x2": 1, "x3": 2}]),
        ("rational_example", [{"x1": 1}, {"x2": 1, "x3": 2}]),
        ("squares_example", [{"x1": 1}, {"x2": 1, "x3": 1}, {"x2": 1, "x4": 1}]),
        ("ring", [{"X_1": 1, "X_2": 1}, {"X_3": 1, "X_4": 1}]),
        ("ring", [{"X_1": 1, "X_2": 1}, {"X_2": 1, "X_3": 1}, {"X_3": 1, "X_4": 1}]),
        ("sir_age_groups", [{f"{kind}_{i}": 1 for i in (1, 2, 3)} for kind in "SIR"]),
    ],
)
def test_known_lumpings_close(name: str, rows: list[dict[str, int]]) -> None:
    assert lumped(BUILDERS[name](), rows)


def test_a_ring_with_a_direction_loses_the_sums_of_neighbours() -> None:
    assert not lumped(examples.ring(forward=2, backward=1), [{"X_1": 1, "X_2": 1}, {"X_3": 1, "X_4": 1}])


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_file_and_builder_are_the_same_system(name: str, data: Path) -> None:
    """libRoadRunner on the file written by hand, the project's own right-hand side on the builder."""
    system = BUILDERS[name]()
    runner = roadrunner.RoadRunner(str(data / f"{name}.xml"))
    draw = np.random.default_rng(1)
    assert np.allclose([runner[s] for s in system.states], system.initial_state(), rtol=1e-15)
    constants = {c.id: float(system.graph.number_of(c.value)) for c in system.constants}
    assert {c: runner[c] for c in constants} == constants
    for _ in range(3):
        x = draw.uniform(0.1, 2.0, system.size)
        for state, value in zip(system.states, x, strict=True):
            runner[state] = value
        rates = [runner[f"{state}'"] for state in system.states]
        assert np.allclose(rates, system.rates(0.0, x), rtol=1e-12, atol=1e-12)


def test_committed_files_are_what_the_script_writes(data: Path) -> None:
    script = runpy.run_path(str(data / "make_models.py"))
    texts = script["small_models"]() | {f"multisite_{m}": script["multisite"](m) for m in (1, 2, 3, 4)}
    for name, text in texts.items():
        assert (data / f"{name}.xml").read_bytes() == text.encode(), f"{name}.xml: run make data"
    for name, text in script["tutorial_models"]().items():
        assert (data / name).read_bytes() == text.encode(), f"{name}: run make data"
    bundled = Path(sbmlump.__file__).parent / "data_models" / "multisite_3.xml"
    assert bundled.read_bytes() == texts["multisite_3"].encode()


def test_files_are_valid_sbml_units_included(data: Path) -> None:
    for path in sorted(data.rglob("*.xml")):
        document = libsbml.readSBML(str(path))
        document.checkConsistency()
        assert [document.getError(i).getMessage() for i in range(document.getNumErrors())] == [], path.name


def test_mass_action_counts_molecules() -> None:
    system = examples.network_from_reactions(
        [("2 A + B -> C", "k"), ("-> A", 3), ("C ->", Fraction(1, 2))],
        initial={"A": 2, "B": 1, "C": 4},
        constants={"k": 5},
    )
    assert system.rates(0, [2.0, 1.0, 4.0]).tolist() == [-2 * 20 + 3, -20, 20 - 2]


@pytest.mark.parametrize(
    ("equation", "rate", "message"),
    [
        ("A = B", "k", "not an equation"),
        ("A -> 2.5 B", "k", "whole number"),
        ("A -> D", "k", "D"),
        ("A -> B", "q", "q"),
    ],
)
def test_mass_action_refuses_what_it_cannot_read(equation: str, rate: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        examples.network_from_reactions([(equation, rate)], initial={"A": 1, "B": 0}, constants={"k": 1})
