"""Antimony text of an SBML model, by the antimony library (an extra)."""

from __future__ import annotations

from sbmlump.errors import Reason, SbmlumpError, UnsupportedModelError

__all__ = ["antimony_text"]


def antimony_text(sbml: bytes) -> bytes:
    """The model as Antimony, for people to read and for Tellurium to run.

    What Antimony has no words for (the lumping, notes) is not in it; keep the SBML file beside it.

    Parameters
    ----------
    sbml : bytes
        An SBML document.

    Raises
    ------
    UnsupportedModelError
        Code ``extra-missing`` if antimony is not installed.
    SbmlumpError
        Code ``not-writable`` if Antimony cannot hold the model.
    """
    try:
        import antimony
    except ImportError as error:
        message = "antimony is not installed; install it with: pip install 'sbmlump[antimony]'"
        raise UnsupportedModelError(Reason("extra-missing", message)) from error
    antimony.clearPreviousLoads()
    try:
        if antimony.loadSBMLString(sbml.decode()) < 0:
            raise SbmlumpError(Reason("not-writable", f"Antimony does not read the model: {_last(antimony)}"))
        text = antimony.getAntimonyString(antimony.getMainModuleName())
        if not text:
            raise SbmlumpError(Reason("not-writable", f"Antimony does not write the model: {_last(antimony)}"))
    finally:
        antimony.clearPreviousLoads()
    return str(text).encode()


def _last(library: object) -> str:
    error = library.getLastError()  # type: ignore[attr-defined]
    return " ".join(str(error).split())[:400] or "no cause given"
