"""What arrays of numbers are called."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Indices", "Mask"]

Array: TypeAlias = NDArray[np.float64]
"""Of real numbers."""
Indices: TypeAlias = NDArray[np.int64]
"""Of whole numbers: places, counts, codes."""
Mask: TypeAlias = NDArray[np.bool_]
"""Which ones."""
