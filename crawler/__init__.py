"""Brings the models of BioModels and ODEbase to the disk: whole, once, verified, and politely.

Independent of :mod:`sbmlump`; the two meet in the files of a store and in the command line.
"""

from __future__ import annotations

import lazy_loader

# The face is in the stub beside this file; what it names is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
