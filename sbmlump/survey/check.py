"""Simulate a model and its reduction, for a row of a survey."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from sbmlump.errors import Reason, SbmlumpError
from sbmlump.outputs import sbml_of
from sbmlump.pipeline import definitions_of
from sbmlump.reduced import ReducedSystem
from sbmlump.simulate import ErrorReport, compare

__all__ = ["checked"]

_MOST_REACTIONS: Final = 1_000  # libRoadRunner compiles a few seconds for these, once for every observable


def checked(path: Path, reduction: ReducedSystem) -> tuple[ErrorReport | None, list[Reason]]:
    """The errors of a reduction, or why there are none.

    Parameters
    ----------
    path : Path
        SBML file of the original.
    reduction : ReducedSystem
    """
    count = len(reduction.original.reactions)
    if count > _MOST_REACTIONS:
        message = f"not simulated: libRoadRunner would compile the {count} reactions for each observable"
        return None, [Reason("too-large-to-simulate", message)]
    with tempfile.TemporaryDirectory(prefix="sbmlump-") as folder:
        reduced = Path(folder) / "reduced.xml"
        try:
            reduced.write_bytes(sbml_of(reduction))
            report = compare(
                path,
                reduced,
                observables=[o.id for o in reduction.observables],
                definitions=definitions_of(reduction.original, reduction.observables),
            )
        except SbmlumpError as error:
            # the reduction stands by its certificate; that a simulator fails on the model is data
            return None, list(error.reasons)
    remarks = [Reason("simulation-remark", remark) for remark in report.remarks]
    return report, remarks
