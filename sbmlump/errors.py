"""Reasons and exceptions: what is wrong, where, and what to do about it.

An expected obstacle is a :class:`Reason`, a value with a stable code; an exception carries one or more of them
to whoever has to turn them into an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "InputError",
    "LimitError",
    "Reason",
    "SbmlumpError",
    "UnsupportedModelError",
    "UsageError",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """One obstacle.

    Attributes
    ----------
    code : str
        Stable, documented in ``docs/reasons.md``; for example ``algebraic-rule``.
    message : str
        One sentence for a person: fact, place, next step.
    element : str or None
        Id of the model element concerned.
    line : int or None
        Line of the file, where known.
    """

    code: str
    message: str
    element: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return self.message


class SbmlumpError(Exception):
    """Base of the errors this package raises on purpose.

    Attributes
    ----------
    reasons : tuple of Reason
        Everything that is wrong, all at once.
    exit_code : int
        Exit code of the command line for this kind of error.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, reasons: Reason | Sequence[Reason]) -> None:
        self.reasons: tuple[Reason, ...] = (reasons,) if isinstance(reasons, Reason) else tuple(reasons)
        super().__init__("; ".join(reason.message for reason in self.reasons))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reasons,)


class UsageError(SbmlumpError):
    """The request makes no sense for this model: unknown name, bad option (exit code 2)."""

    exit_code = 2


class InputError(SbmlumpError):
    """The input is not a readable model (exit code 3)."""

    exit_code = 3


class UnsupportedModelError(SbmlumpError):
    """The model is readable but holds constructs that cannot become an ODE system here (exit code 1)."""

    exit_code = 1


class LimitError(SbmlumpError):
    """A time, memory, size or accuracy limit was not met (exit code 4)."""

    exit_code = 4
