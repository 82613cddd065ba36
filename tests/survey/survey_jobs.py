"""Jobs and small models for the tests of surveys; importable by the processes that run them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from sbmlump.survey import survey_model


def doubled(value, emit):
    emit("half way")
    return 2 * value


def raises(emit):
    raise ValueError("this model is odd")


def hangs(emit):
    emit("before")
    time.sleep(600)


def holds_the_lock(emit):
    """As libRoadRunner does while it integrates: no thread of Python's runs meanwhile."""
    emit("before")
    ctypes.PyDLL(None).sleep(60)


def spins(emit):
    while True:
        pass


def segfaults(emit):
    emit("before")
    os.kill(os.getpid(), signal.SIGSEGV)


def leaves(emit):
    os._exit(3)


def eats_memory(emit):
    held = []
    while True:
        held.append(bytearray(8 << 20))


def mixed(task, skip, emit):
    """The real job, but for models whose id says what becomes of them."""
    name = task.model.id
    if name.startswith("hang"):
        time.sleep(600)
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("memory"):
        eats_memory(emit)
    if name.startswith("slow"):
        time.sleep(0.2)
    survey_model(task, skip, emit)


def dies_at_b(task, skip, emit):
    """The real job, one observable after the other, that crashes while it is at B."""
    from sbmlump.survey import Begun

    def listen(message):
        emit(message)
        if isinstance(message, Begun) and message.pair[0] == "B":
            os.kill(os.getpid(), signal.SIGSEGV)

    survey_model(task, skip, listen)


def chain(name="chain", extra=""):
    """A → B → C and two states D, E that only act as their sum."""
    species = "".join(
        f'<species id="{s}" compartment="c" initialConcentration="{k + 1}" hasOnlySubstanceUnits="false" '
        'boundaryCondition="false" constant="false"/>'
        for k, s in enumerate("ABCDE")
    )
    steps = [("A", "B", "A"), ("B", "C", "B"), ("D", "", "D"), ("E", "", "E"), ("", "A", "<plus/>")]
    reactions = ""
    for k, (source, target, rate) in enumerate(steps):
        one = 'stoichiometry="1" constant="true"'
        left = f'<listOfReactants><speciesReference species="{source}" {one}/></listOfReactants>'
        right = f'<listOfProducts><speciesReference species="{target}" {one}/></listOfProducts>'
        math = (
            f"<apply><times/><cn> 0.5 </cn><ci> {rate} </ci></apply>"
            if source
            else "<apply><plus/><ci> D </ci><ci> E </ci></apply>"
        )
        modifiers = (
            ""
            if source
            else (
                "<listOfModifiers>"
                + "".join(f'<modifierSpeciesReference species="{s}"/>' for s in "DE")
                + "</listOfModifiers>"
            )
        )
        reactions += (
            f'<reaction id="r{k}" reversible="false" fast="false">{left if source else ""}{right if target else ""}'
            f'{modifiers}<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">{math}</math></kineticLaw></reaction>'
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" '
        f'version="1"><model id="{name}"><listOfCompartments><compartment id="c" size="1" spatialDimensions="3" '
        f'constant="true"/></listOfCompartments><listOfSpecies>{species}</listOfSpecies>{extra}'
        f"<listOfReactions>{reactions}</listOfReactions></model></sbml>"
    )


def write_models(folder: Path, names):
    """Files of the chain model under the given names, and what a survey has to know of them."""
    import hashlib

    from sbmlump.survey import SurveyModel

    folder.mkdir(parents=True, exist_ok=True)
    models = []
    for name in names:
        path = folder / f"{name}.xml"
        path.write_text(chain(f"m_{name}"))
        models.append(SurveyModel(name, path.name, path, hashlib.sha256(path.read_bytes()).hexdigest()))
    return models


def timeless(rows):
    """Rows without what differs from run to run."""
    return [
        {
            key: value
            for key, value in row.items()
            if not key.startswith("seconds") and key not in ("cpu_seconds", "peak_memory_mb")
        }
        for row in rows
    ]


def one_by_one():
    """Settings whose method goes through observables one after the other, in a process that may die at each."""
    from sbmlump.survey import Settings

    return Settings(methods=("forward-equivalence",))


def changes_and_dies_at_b(task, skip, emit):
    """The real job; while it is at B, the file changes and the process crashes."""
    from sbmlump.survey import Begun

    def listen(message):
        emit(message)
        if isinstance(message, Begun) and message.pair[0] == "B":
            task.model.path.write_text(chain("another"), encoding="utf-8")
            os.kill(os.getpid(), signal.SIGSEGV)

    survey_model(task, skip, listen)
