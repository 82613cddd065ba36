"""The jobs: reduce, check, convert, inspect, curve, compare methods; each from files or systems to values."""

from __future__ import annotations

import lazy_loader

# The face is in the stub beside this file; what it names is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
