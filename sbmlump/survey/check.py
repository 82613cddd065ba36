"""Simulate a model and its reduction, for a row of a survey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sbmlump.errors import Reason, SbmlumpError
from sbmlump.methods import ReduceOptions
from sbmlump.outputs import sbml_of
from sbmlump.pipeline import ContradictedError, simulate_reduction
from sbmlump.reduced import ReducedSystem

if TYPE_CHECKING:
    from sbmlump.simulate.compare import ErrorReport
    from sbmlump.simulate.source import SimulatedModel

__all__ = ["checked"]

_MOST_REACTIONS: Final = 1_000  # libRoadRunner compiles a few seconds for these, once for every observable


def checked(
    source: SimulatedModel, reduction: ReducedSystem, options: ReduceOptions
) -> tuple[ErrorReport | None, list[Reason]]:
    """The errors of a reduction, or why there are none.

    Parameters
    ----------
    source : SimulatedModel
        The original.
    reduction : ReducedSystem
    options : ReduceOptions

    Raises
    ------
    ContradictedError
        If the reduction is proved and simulations contradict it.
    """
    count = len(reduction.original.reactions)
    if count > _MOST_REACTIONS:
        message = f"not simulated: libRoadRunner would compile the {count} reactions for each observable"
        return None, [Reason("too-large-to-simulate", message)]
    try:
        # in this process: it is one that may die already
        return simulate_reduction(source, sbml_of(reduction), reduction, options, limits=None)
    except ContradictedError:
        raise
    except SbmlumpError as error:
        # the reduction stands by its certificate; that a simulator fails on the model is data
        return None, list(error.reasons)
