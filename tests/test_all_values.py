"""Reductions that hold for all values of parameters do, in the files that were written, initial values included."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import ParametricSystem, parametric_systems
from written_files import worst_difference

import sbmlump
from sbmlump.errors import UnsupportedModelError
from sbmlump.model import ExactProof
from sbmlump.sbml import write_system

METHODS = ("exact", "forward-equivalence", "backward-equivalence", "conservation", "exact,conservation")
CI = settings(max_examples=10)


def check_reduction(model: ParametricSystem, method: str, keep: str, values: list[list[Fraction]]) -> str:
    """Reduce, write both, prove the files again, and hold them against each other at other values of the parameters.

    Returns what came of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "original.xml", Path(folder) / "reduced.xml"
        source.write_bytes(write_system(model.system))
        original = sbmlump.load(source)
        # what is to be observed has an id in both, so that it is compared like everything else
        try:
            reduction = sbmlump.reduce(original, list(model.observe), method, keep_parameters=keep)
        except UnsupportedModelError:
            return "unsupported"
        proof = reduction.certificate
        assert isinstance(proof, ExactProof)
        reduction.write(target)
        again = sbmlump.verify(source, target)
        assert isinstance(again, ExactProof), again
        reduced = sbmlump.load(target)
        free = [name for name in model.parameters if name in proof.symbolic]
        assert keep == "none" or set(free) >= (set(model.parameters) if keep == "all" else set(keep.split(",")))
        assert proof.holds_for == ("file-values" if proof.valid_for else "all-parameter-values")
        assert not set(proof.valid_for) & set(free)
        assert proof.valid_for or set(free) == set(model.parameters)
        there = {c.id for c in reduced.constants}
        for numbers in values:
            table = dict(zip(free, numbers, strict=False))
            before = original.with_values(table)
            after = reduced.with_values({name: value for name, value in table.items() if name in there})
            if np.isfinite(before.initial_state()).all():
                assert worst_difference(before, after, reduction.lumps) < 1e-7, (table, proof)
        return proof.holds_for if reduction.reducible else "not-reducible"


positive = st.builds(Fraction, st.integers(1, 40), st.integers(1, 8))
other_values = st.lists(st.lists(positive, min_size=5, max_size=5), min_size=5, max_size=5)


@CI
@given(parametric_systems(), st.sampled_from(METHODS), st.sampled_from(("none", "all", "p1", "p1,p2")), other_values)
def test_written_files_agree_at_other_values(
    model: ParametricSystem, method: str, keep: str, values: list[list[Fraction]]
) -> None:
    check_reduction(model, method, keep, values)
