"""Published `.ode` files: all are read, written and read again; rates are those of the SBML file of the same model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sbmlump.formats import initial_partition, load_ode, parse_ode, write_ode
from sbmlump.methods import forward_equivalence, reduce_forward
from sbmlump.model import OdeSystem, parse_observables
from sbmlump.sbml import load_sbml

#: Models whose .ode file says something else than the SBML file; why is in docs/ode-format.md.
SAME_RATES = (
    "BIOMD0000000028", "BIOMD0000000038", "BIOMD0000000102", "BIOMD0000000199", "BIOMD0000000205", "BIOMD0000000282",
    "BIOMD0000000361", "BIOMD0000000364", "BIOMD0000000368", "BIOMD0000000431", "BIOMD0000000475", "BIOMD0000000488",
    "BIOMD0000000530", "BIOMD0000000609",
)  # fmt: skip
_COMMENT = re.compile(r"^//\s*(x\d+)\s*:\s*(\w+)", re.MULTILINE)


def complete(system: OdeSystem) -> bool:
    return all(constant.value is not None for constant in system.constants)


@pytest.mark.sample(1000)
def test_every_file_is_read_and_comes_back(ode_file: Path) -> None:
    system = load_ode(ode_file)
    assert system.size > 0
    again = parse_ode(write_ode(system).decode())
    assert again.states == system.states
    assert {c.id for c in again.constants} == {c.id for c in system.constants} - {"cell"}
    if complete(system):
        x = np.random.default_rng(0).uniform(0.5, 1.5, (3, system.size))
        expected = system.rates(0.0, x)
        scale = np.abs(expected).max(initial=1.0)
        np.testing.assert_allclose(again.rates(0.0, x), expected, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.sample(1000)
def test_partitions_cover_the_states(ode_file: Path) -> None:
    system = load_ode(ode_file)
    blocks = initial_partition(ode_file)
    assert sorted(name for block in blocks for name in block) == sorted(system.states)


@pytest.mark.parametrize("model", SAME_RATES)
def test_rates_are_those_of_the_sbml_file(corpus: Path, model: str) -> None:
    (path,) = (corpus / "ode").rglob(f"{model}.ode")
    ode, sbml = load_ode(path), load_sbml(corpus / "biomodels" / f"{model}.xml")
    named = dict(_COMMENT.findall(path.read_text(encoding="utf-8")))
    pairs = [(name, named.get(name, name)) for name in ode.states]
    pairs = [(a, b) for a, b in pairs if b in sbml.state_index]
    assert len(pairs) == sbml.size
    left = [ode.state_index[a] for a, _ in pairs]
    right = [sbml.state_index[b] for _, b in pairs]
    generator = np.random.default_rng(0)
    x, y = ode.initial_state(), sbml.initial_state()
    x[left] = np.abs(x[left]) * generator.uniform(0.5, 1.5, len(left)) + generator.uniform(0.1, 1.0, len(left))
    y[right] = x[left]
    np.testing.assert_allclose(ode.rates(0.0, x)[left], sbml.rates(0.0, y)[right], rtol=1e-9)


def test_ordered_phosphorylation(corpus: Path) -> None:
    """Published: 66 blocks of 213 states, free ligand (s0) observed."""
    system = load_ode(corpus / "ode" / "OrderedPhosphorylation.ode")
    assert system.size == 213
    observables = parse_observables(system, ["s0"])
    keep = frozenset(c.id for c in system.constants)
    assert len(forward_equivalence(system, observables)) == 66
    made = reduce_forward(system, observables, keep=keep)
    assert made.system.size == 66
    assert made.certificate.kind == "exact-proof"
