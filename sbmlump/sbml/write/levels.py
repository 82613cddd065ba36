"""A document that was written (Level 3 Version 2) in an older level, by libSBML's strict conversion.

LibSBML decides what an older level cannot say and moves the rest to its place there. It prints numbers with 15 digits,
so they are put back as they were; what comes out is read again and has to be the same system.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import libsbml

from sbmlump.errors import InputError, Reason, UnsupportedModelError
from sbmlump.files import ModelFile
from sbmlump.model.equality import Expected, refuse_differences
from sbmlump.options import LEVEL
from sbmlump.sbml.read.document import open_sbml
from sbmlump.sbml.read.load import read_opened
from sbmlump.sbml.write.document import WrittenSbml, refuse_other_participants
from sbmlump.sbml.write.elements import STOICHIOMETRY
from sbmlump.sbml.write.mathml import SETTINGS, WritingSettings
from sbmlump.sbml.write.metadata import CORE

__all__ = ["at_level"]


_NEWEST: Final = LEVEL.kind.choices[0]
"""The level in which everything can be said, and is written first."""
_BASE_UNITS: Final = {"substance": "mole", "time": "second", "volume": "litre"}
"""What Level 2 takes where a model names no unit."""
_CONVERSION: Final = range(91000, 99000)
"""Numbers of libSBML's remarks on what a level does not have."""
_NUMBER: Final = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_ATTRIBUTE: Final = re.compile(
    rf'(?<=\s)(value|size|initialAmount|initialConcentration|stoichiometry|multiplier)="({_NUMBER})"'
)
_NEW_FUNCTION: Final = re.compile(r"<(?:\w+:)?(max|min|rem|quotient|implies)\s*/>")
"""Functions that mathematics has since Level 3 Version 2."""
_ANNOTATION: Final = re.compile(r"<annotation\b[^>]*?(?:/>|>.*?</annotation\s*>)", re.DOTALL)
_CN: Final = re.compile(rf"<cn\b([^>]*)>\s*({_NUMBER})\s*(?:<sep\s*/>\s*([-+]?[0-9]+)\s*)?</cn>")
_TYPE: Final = re.compile(r"""\s+type\s*=\s*(?:"([^"]*)"|'([^']*)')""")


def at_level(document: WrittenSbml, level: str, settings: WritingSettings = SETTINGS) -> WrittenSbml:
    """The document in another level and version.

    Parameters
    ----------
    document : WrittenSbml
        In Level 3 Version 2, as it was read back.
    level : str
        One of those that the option ``--level`` takes.
    settings : WritingSettings

    Returns
    -------
    WrittenSbml
        With a reason (``not-kept``) for each kind of thing that is left out: ids and names of elements that have none
        there, and for Level 2 packages; and ``default-units`` where Level 2 takes units that the model does not name.

    Raises
    ------
    UnsupportedModelError
        ``level-not-writable``: the level has no words for something in the mathematics, which is named;
        ``written-differs``: what was written is read back as another model.
    """
    if level == _NEWEST:
        return document
    assert document.read_back is not None
    name = "Level {} Version {}".format(*level.split("."))
    major, minor = map(int, level.split("."))
    source = document.data.decode()
    converted = libsbml.readSBMLFromString(source)
    lost = [] if major > 2 else list(_without_packages(converted, source))
    done = converted.setLevelAndVersion(major, minor, True)
    log = [converted.getError(i) for i in range(converted.getNumErrors())]
    wrong = [
        error
        for error in log
        # an initial assignment with newer mathematics becomes a number, which is another model for other values
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR
        or error.getErrorId() == libsbml.ConvertibleMathInitialAssignment
    ]
    if wrong or not done:
        raise UnsupportedModelError(_refusals(wrong, source, name, settings.errors_listed))
    lost += _left_out([error for error in log if error.getErrorId() in _CONVERSION], name)
    if major == 2:
        lost += _default_units(converted.getModel(), libsbml.readSBMLFromString(source).getModel())
    data = _with_annotations(_with_digits(libsbml.writeSBMLToString(converted), source), source).encode()
    system = document.read_back.required()
    try:
        opened = open_sbml(ModelFile(data, f"what was written in {name}", ".xml", None))
    except InputError as error:
        raise UnsupportedModelError(
            [
                Reason("level-not-writable", f"not written in {name}: {one.message}", one.element)
                for one in error.reasons
            ]
        ) from error
    result = read_opened(opened, frozenset(c.id for c in system.constants if c.value is None))
    if result.system is None:
        raise UnsupportedModelError(
            [Reason("level-not-writable", f"not written in {name}: {r.message}", r.element) for r in result.reasons]
        )
    # a stoichiometry that changes is no quantity in Level 2, but a formula at its place, which is compared below
    parts = (one.id for reaction in system.reactions for one in (*reaction.reactants, *reaction.products))
    formulas = frozenset(id for id in parts if id is not None) & {one.id for one in system.assigned}
    expected = Expected(left_out=formulas if major == 2 else frozenset())
    refuse_differences(system, result.system, f"SBML {name}", expected)
    named = sorted(id for id in expected.left_out if not id.startswith(STOICHIOMETRY))
    if named:
        text = (
            f"not kept: the stoichiometries {', '.join(named)} as quantities; SBML {name} has formulas in their places"
        )
        lost.append(Reason("not-kept", text))
    refuse_other_participants(system, result.system, settings.errors_listed)
    return WrittenSbml(data, (*document.reasons, *lost), result)


def _without_packages(document: Any, source: str) -> Iterator[Reason]:
    """Take packages out of a document, which Level 2 does not have; they say nothing in the mathematics."""
    plugins = [document.getPlugin(i) for i in range(document.getNumPlugins())]
    for package, uri, prefix in [(one.getPackageName(), one.getURI(), one.getPrefix()) for one in plugins]:
        used = uri != CORE and f'"{uri}"' in source  # libSBML counts extended mathematics as one
        document.enablePackage(uri, prefix, False)
        if used:
            yield Reason("not-kept", f"not kept: the package {package}, which SBML Level 2 does not have")


def _refusals(errors: list[Any], source: str, name: str, most: int) -> list[Reason]:
    """What the level has no words for, with the id that stands nearest before."""
    lines = source.splitlines()
    reasons: dict[Reason, None] = {}
    for error in errors:
        before = "\n".join(lines[: error.getLine()])
        ids = re.findall(r'\s(?:id|variable|symbol)="([^"]*)"', before)
        place = ids[-1] if ids and error.getLine() else None
        text = " ".join(error.getMessage().split()).rstrip(".")  # its second sentence may name the element
        if error.getErrorId() == libsbml.ConvertibleMathInitialAssignment:
            text = f"an initial assignment has mathematics of Level 3 Version 2{_new_functions(source, place)}"
        where = "" if place is None else f" (at {place})"
        advice = "write Level 3 Version 2 (without --level)"
        reasons[Reason("level-not-writable", f"SBML {name} cannot say it: {text}{where}; {advice}", place)] = None
    if not reasons:
        reasons[Reason("level-not-writable", f"libSBML does not convert the model to SBML {name}")] = None
    return list(reasons)[:most]


def _new_functions(source: str, symbol: str | None) -> str:
    """Names, in brackets, of what Level 3 Version 2 has added and an initial assignment uses."""
    body = re.compile(
        rf'<initialAssignment\b[^>]*\ssymbol="{re.escape(symbol or "")}".*?</initialAssignment', re.DOTALL
    )
    names = dict.fromkeys(name for found in body.findall(source) for name in _NEW_FUNCTION.findall(found))
    return f" ({', '.join(names)})" if names else ""


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[a-z)])\.\s", " ".join(text.split()) + " ", maxsplit=1)[0].rstrip(". ")


def _left_out(remarks: list[Any], name: str) -> Iterator[Reason]:
    for number, count in Counter(one.getErrorId() for one in remarks).items():
        if number == libsbml.IdNameSBaseInL3V2:
            text = f"ids and names of {count} elements that have none in SBML {name}"
        else:
            first = next(one for one in remarks if one.getErrorId() == number)
            text = f"{count} times in SBML {name}: {_first_sentence(first.getMessage())}"
        yield Reason("not-kept", f"not kept: {text}")


def _default_units(converted: Any, source: Any) -> Iterator[Reason]:
    """What Level 2 takes for units where the model has none."""
    named = [f"{what} in {unit}" for what, unit in _BASE_UNITS.items() if not _has_unit(converted, source, what)]
    if named:
        text = f"the model names no unit of some quantities; SBML Level 2 takes {', '.join(named)} for those"
        yield Reason("default-units", text)


def _with_annotations(text: str, source: str) -> str:
    """``text`` with the annotations of ``source``: libSBML makes anew what it knows, without prefixes that it needs."""
    theirs, ours = list(_ANNOTATION.finditer(text)), _ANNOTATION.findall(source)
    if len(theirs) != len(ours):  # those of packages are gone
        return text
    pieces, place = [], 0
    for match, fragment in zip(theirs, ours, strict=True):
        pieces += [text[place : match.start()], fragment]
        place = match.end()
    return "".join((*pieces, text[place:]))


def _has_unit(converted: Any, source: Any, what: str) -> bool:
    return bool(converted.getUnitDefinition(what)) or bool(getattr(source, f"isSet{what.capitalize()}Units")())


# -- numbers -----------------------------------------------------------------------------------------


def _with_digits(text: str, source: str) -> str:
    """``text`` with the numbers of ``source`` in place of those that libSBML has printed with 15 digits.

    The same numbers stand in both in the same order; where they do not, nothing is put in, and the comparison with
    what is read back decides.
    """
    text = _restored(text, source, _ATTRIBUTE, lambda m: m[2], lambda new, old: f'{new[1]}="{old[2]}"', lambda m: m[1])
    return _restored(text, source, _CN, _decimal_of, _content_of)


def _restored(
    text: str,
    source: str,
    pattern: re.Pattern[str],
    decimal: Callable[[re.Match[str]], str | None],
    put: Callable[[re.Match[str], re.Match[str]], str],
    kind: Callable[[re.Match[str]], str] = lambda _: "",
) -> str:
    """``text`` with what matches in it replaced by what matches in ``source``, if it is of the same kind and looks the
    same in 15 digits.
    """

    def by_digits(where: str) -> dict[tuple[str, str], list[re.Match[str]]]:
        found: dict[tuple[str, str], list[re.Match[str]]] = {}
        for match in pattern.finditer(where):
            number = decimal(match)
            if number is not None:
                found.setdefault((kind(match), f"{float(number):.15g}"), []).append(match)
        return found

    ours, theirs = by_digits(source), by_digits(text)
    pieces: dict[int, tuple[int, str]] = {}
    for key, matches in theirs.items():
        originals = ours.get(key, [])
        same = len(originals) == len(matches) or len({decimal(one) for one in originals}) == 1
        if originals and same:
            for k, match in enumerate(matches):
                pieces[match.start()] = match.end(), put(match, originals[min(k, len(originals) - 1)])
    out, place = [], 0
    for start in sorted(pieces):
        end, new = pieces[start]
        out += [text[place:start], new]
        place = end
    return "".join((*out, text[place:]))


def _kind(match: re.Match[str]) -> str:
    found = _TYPE.search(match[1])
    return "real" if found is None else found[1] or found[2]


def _decimal_of(match: re.Match[str]) -> str | None:
    """The number in a ``cn`` element as decimal text; ``None`` for whole numbers and fractions, which stay exact."""
    kind = _kind(match)
    if kind == "real":
        return match[2]
    return f"{match[2]}e{match[3]}" if kind == "e-notation" and match[3] else None


def _content_of(new: re.Match[str], old: re.Match[str]) -> str:
    """The ``cn`` element with the type and the digits of the old one, and what else the new one says."""
    kind = _kind(old)
    head = _TYPE.sub("", new[1]) + ("" if kind == "real" else f' type="{kind}"')
    power = "" if old[3] is None else f"<sep/> {old[3]} "
    return f"<cn{head}> {old[2]} {power}</cn>"
