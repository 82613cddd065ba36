"""How much work integrations may do, counted the same way on every machine.

A *unit* stands for about a thousand million elementary array operations: what a step costs is estimated from the size
of the right-hand side and the number of runs, never measured by a clock, so that a search that is ended by its limit
ends at the same place everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sbmlump.errors import LimitError, Reason

__all__ = ["CALL", "PRODUCT", "Budget", "StepWork", "WorkLimitError"]


CALL: Final = 1e4  # operations that one call of an array routine is worth, however small its arrays
PRODUCT: Final = 0.3  # operations that a multiplication within a matrix product is worth
_UNIT: Final = 1e9


class WorkLimitError(LimitError):
    """The work that was allowed is used up."""


@dataclass(frozen=True, slots=True)
class StepWork:
    """Elementary operations of one step of a stiff method: six right-hand sides and a Jacobian.

    Attributes
    ----------
    call : float
        However many runs make the step at once.
    point : float
        More for each run.
    """

    call: float
    point: float


class Budget:
    """Counts work up to a limit.

    Parameters
    ----------
    limit : float
        In units; infinite by default.
    """

    def __init__(self, limit: float = float("inf")) -> None:
        self.limit = limit
        self.spent = 0.0

    def add(self, operations: float) -> None:
        """Count elementary operations.

        Raises
        ------
        WorkLimitError
            If the limit has been passed.
        """
        self.spent += operations / _UNIT
        if self.spent > self.limit:
            raise WorkLimitError(
                Reason("work-limit", f"the {self.limit:g} units of work that are allowed were used up (--work)")
            )
