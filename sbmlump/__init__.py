"""sbmlump: make a published SBML model smaller, exactly or approximately, and know how far the two differ.

>>> import sbmlump
>>> system = sbmlump.load("model.xml")                            # doctest: +SKIP
>>> reduction = sbmlump.reduce(system, observe=["A", "B + C"])    # doctest: +SKIP
>>> reduction.write("reduced.xml")                                # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sbmlump._version import __version__

if TYPE_CHECKING:
    from sbmlump.errors import (
        InputError,
        LimitError,
        Reason,
        SbmlumpError,
        UnsupportedModelError,
        UsageError,
    )
    from sbmlump.formats.load import load
    from sbmlump.jobs import (
        Curve,
        Inspection,
        MethodComparison,
        check,
        compare,
        compare_methods,
        convert,
        curve,
        inspect,
        reduce,
    )
    from sbmlump.methods.user_lumping import Closure, closure
    from sbmlump.model.reduced import ErrorEstimate, ExactProof, LumpingMatrix, Proof, ReducedSystem
    from sbmlump.model.system import OdeSystem
    from sbmlump.petab import reduce_petab
    from sbmlump.proof.claims import Refutation
    from sbmlump.proof.files import verify
    from sbmlump.simulators.comparison import ErrorReport

__all__ = [
    "Closure",
    "Curve",
    "ErrorEstimate",
    "ErrorReport",
    "ExactProof",
    "InputError",
    "Inspection",
    "LimitError",
    "LumpingMatrix",
    "MethodComparison",
    "OdeSystem",
    "Proof",
    "Reason",
    "ReducedSystem",
    "Refutation",
    "SbmlumpError",
    "UnsupportedModelError",
    "UsageError",
    "__version__",
    "check",
    "closure",
    "compare",
    "compare_methods",
    "convert",
    "curve",
    "inspect",
    "load",
    "reduce",
    "reduce_petab",
    "verify",
]

# Imported on first use: libSBML, SciPy and libRoadRunner cost more than most jobs.
_HOMES: Final = {
    **dict.fromkeys(("Closure", "closure"), "sbmlump.methods.user_lumping"),
    **dict.fromkeys(("Curve", "Inspection", "MethodComparison", "check", "compare", "compare_methods"), "sbmlump.jobs"),
    **dict.fromkeys(("convert", "curve", "inspect", "reduce"), "sbmlump.jobs"),
    "load": "sbmlump.formats.load",
    "verify": "sbmlump.proof.files",
    **dict.fromkeys(
        ("ErrorEstimate", "ExactProof", "LumpingMatrix", "Proof", "ReducedSystem"), "sbmlump.model.reduced"
    ),
    **dict.fromkeys(
        ("InputError", "LimitError", "Reason", "SbmlumpError", "UnsupportedModelError", "UsageError"), "sbmlump.errors"
    ),
    "ErrorReport": "sbmlump.simulators.comparison",
    "OdeSystem": "sbmlump.model.system",
    "Refutation": "sbmlump.proof.claims",
    "reduce_petab": "sbmlump.petab",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'sbmlump' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
