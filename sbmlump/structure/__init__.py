"""What the equations and the written network of a model have: conservation laws, deficiency, balance, signs.

:func:`structure_of` collects everything for ``sbmlump inspect --structure``; :func:`kept_properties` holds a reduced
model against its original.
"""

from __future__ import annotations

import lazy_loader

# The face is in the stub beside this file; what it names is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
