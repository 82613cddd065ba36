"""Types of the options that take numbers: each has bounds, and a number is one (not NaN, not infinite)."""

from __future__ import annotations

import math
from typing import Any, Final

import click

from sbmlump.isolate import MOST_MEGABYTES, MOST_SECONDS

__all__ = [
    "COUNT",
    "ENSEMBLE",
    "ERROR",
    "HORIZON",
    "MEGABYTES",
    "POINTS",
    "SECONDS",
    "SEED",
    "SHARE",
    "SIZE",
    "WAIT",
    "Number",
]


class Number(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; NaN is in no range but compares as if it were in each, infinity is in those without an end."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


HORIZON: Final = Number(min=0, min_open=True)
"""End time of a simulation."""
ERROR: Final = Number(min=0)
"""An error that is allowed."""
SHARE: Final = Number(min=0, max=1, max_open=True)
"""A relative size below 1."""
SECONDS: Final = Number(min=0, min_open=True, max=MOST_SECONDS)
"""A time limit."""
MEGABYTES: Final = Number(min=0, min_open=True, max=MOST_MEGABYTES)
"""A memory limit."""
WAIT: Final = Number(min=0, max=MOST_SECONDS)
"""Seconds to wait, which may be none."""
POINTS: Final = click.IntRange(2, 10_000_000)
"""Points of a grid; more of them need more memory for one quantity than simulations give numbers worth having."""
ENSEMBLE: Final = click.IntRange(0, 1_000_000)
"""Perturbed initial values."""
SIZE: Final = click.IntRange(1, 2**31 - 1)
"""A number of states."""
COUNT: Final = click.IntRange(1, 2**31 - 1)
"""How many of something to take."""
SEED: Final = click.IntRange(0, 2**63 - 1)
"""Of random numbers: what every generator and every column of a result takes."""
