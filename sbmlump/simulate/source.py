"""The model as a simulator reads it: one place that turns a file into text and what has to be known of it.

A simulator is given text, never a path: bytes are decoded once, by the reader that every command uses, with its
guards (DOCTYPE, depth, encodings, files of other folders, hierarchies that explode). Submodels are put together by
libSBML as the reader does it. What libRoadRunner and COPASI cannot take as it stands in the file (algebraic rules,
``rateOf`` as an annotated function definition) they get as sbmlump's translation, with a remark that says so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.sbml.document import Opened, open_sbml, parse_document
from sbmlump.sbml.reader import read_opened
from sbmlump.sbml.text import text_of
from sbmlump.sbml.writer import write_system
from sbmlump.simulate.facts import ModelIndex, facts_of
from sbmlump.simulate.switches import TimeSwitches, time_switches
from sbmlump.system import OdeSystem

__all__ = ["SimulatedModel", "simulated_file", "simulated_system", "simulated_text"]

#: Reasons of the reader for which a file is not given to a simulator either: it would read outside the folder, or grow.
_NOT_SIMULATED: Final = frozenset({"comp-flattening", "comp-external", "too-large", "too-deep"})


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model as simulators are given it.

    Attributes
    ----------
    path : Path
        The file it came from, for messages.
    text : str
        SBML without submodels.
    facts : Facts
        What ids mean in it.
    switches : TimeSwitches
        Where it changes by itself as time passes; nothing is known of a model that the reader refuses.
    remarks : tuple of str
        In what the text differs from the file.
    system : OdeSystem or None
        The equations, where the reader takes the model.
    """

    path: Path
    text: str
    facts: ModelIndex
    switches: TimeSwitches
    remarks: tuple[str, ...] = ()
    system: OdeSystem | None = None

    @property
    def bare(self) -> SimulatedModel:
        """The same without the equations, which a simulator in a child process does not need and need not be sent."""
        return replace(self, system=None)


def simulated_file(path: str | Path, system: OdeSystem | None = None) -> SimulatedModel:
    """The SBML file at ``path``.

    Parameters
    ----------
    path : path
    system : OdeSystem, optional
        What the reader made of that file, where it is known already.

    Raises
    ------
    InputError
        If it is no readable SBML file.
    UnsupportedModelError
        If its submodels cannot be put together, or lie where nothing is read.
    """
    path = Path(path)
    opened = open_sbml(path)
    layered = opened.document.getModel().isPackageEnabled("comp")
    reasons: tuple[Reason, ...] = ()
    if system is None or layered:
        # reading puts submodels together in the document itself
        result = read_opened(opened)
        system, reasons = result.system, result.reasons
    refused = [reason for reason in reasons if reason.code in _NOT_SIMULATED]
    if refused:
        raise UnsupportedModelError(refused)
    facts = facts_of(opened.document, system)
    if system is not None and (facts.old_rate_of or facts.algebraic):
        why = "its algebraic rules are solved" if facts.algebraic else "its function rateOf means a derivative"
        remark = f"{path.name} is simulated as 'sbmlump convert' writes it: {why}."
        return replace(simulated_system(system, path), remarks=(remark,))
    if layered:
        text = text_of(opened.document)
    else:
        text = opened.data.decode()
    return SimulatedModel(path, text, facts, time_switches(system), (), system)


def simulated_system(system: OdeSystem, path: str | Path) -> SimulatedModel:
    """A system, as the SBML that sbmlump writes of it; ``path`` is the file it came from.

    Raises
    ------
    SbmlumpError
        As :func:`sbmlump.sbml.writer.write_system`.
    """
    return simulated_text(write_system(system), path, system)


def simulated_text(data: bytes, path: str | Path, system: OdeSystem | None = None) -> SimulatedModel:
    """SBML that sbmlump has written itself (UTF-8, no submodels); ``path`` is where it lies or what it is called."""
    path = Path(path)
    document = parse_document(data, file=path.name)
    if system is None:
        digest = hashlib.sha256(data).hexdigest()
        system = read_opened(Opened(document, path.name, digest, None, data)).system
    return SimulatedModel(path, data.decode(), facts_of(document, system), time_switches(system), (), system)
