"""Systems of ODEbase: equations, parameter values and name maps as its pages give them.

ODEbase translates SBML files independently of us, so its systems are an oracle for the reader: see
:mod:`sbmlump.formats.odebase`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NoReturn

import numpy as np

from sbmlump.arrays import Array
from sbmlump.errors import InputError, Reason, some_names
from sbmlump.files import MAX_BYTES, read_whole
from sbmlump.model.graph import Graph, Node
from sbmlump.model.system import Constant, OdeSystem, Origin
from sbmlump.model.text import ExpressionError, parse_expression

__all__ = ["OdebaseSystem", "load_odebase", "parse_odebase", "TranslationComparison", "Verdict", "compare_systems"]


_EQUATION: Final = re.compile(r"\s*Eq\(\s*Derivative\(\s*([A-Za-z_]\w*)\s*(?:\(\s*t\s*\))?\s*,\s*t\s*\)\s*,")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_FUNCTION_OF_TIME: Final = re.compile(r"\b([A-Za-z_]\w*)\s*\(\s*t\s*\)")
_TEXTS: Final = ("odes", "parameters", "species_map", "parameter_map")
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class OdebaseSystem:
    """A system and what its symbols are called in the SBML file it was made from.

    Attributes
    ----------
    system : OdeSystem
        States and constants under the names of ODEbase (``x1``, ``k1``). Initial values are not given there: they
        are ``notanumber``. Names without a value in the list of parameters (constant species) are constants without
        a value.
    species, parameters : mapping of str to str
        Name in ODEbase, original name; what is not in the map has no entry.
    """

    system: OdeSystem
    species: Mapping[str, str]
    parameters: Mapping[str, str]


def load_odebase(path: str | Path) -> OdebaseSystem:
    """Read a document of a store (``…/<id>.odebase.json``).

    Raises
    ------
    InputError
        Code ``odebase-syntax``, and those of :func:`sbmlump.files.read_whole`.
    """
    path = Path(path)
    try:
        document = json.loads(read_whole(path, MAX_BYTES, "ODEbase"))
    except (ValueError, RecursionError) as error:
        _refuse(str(path), f"this is not JSON ({error}); crawl again")
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        _refuse(str(path), f"this is not a document of format {_FORMAT}; crawl again")
    texts = [document.get(key) for key in (*_TEXTS, "id")]
    if not all(isinstance(text, str) for text in texts):
        _refuse(str(path), "a text is missing; crawl again")
    odes, parameters, species_map, parameter_map, id = map(str, texts)
    return parse_odebase(odes, parameters, species_map, parameter_map, id=id, file=str(path))


def parse_odebase(
    odes: str, parameters: str, species_map: str = "", parameter_map: str = "", *, id: str = "model", file: str = "text"
) -> OdebaseSystem:
    """Make a system of the texts of ODEbase. Nothing is evaluated; numbers stay exact.

    Parameters
    ----------
    odes : str
        ``[Eq(Derivative(x1, t), <expression>), …]``.
    parameters : str
        Lines ``k1 = 1/500``; the values are in Q.
    species_map, parameter_map : str
        Lines ``x1 = original name``.
    id, file : str
        Id of the system, and the name used in messages.

    Raises
    ------
    InputError
        Code ``odebase-syntax``.
    """
    graph = Graph()
    equations = list(_equations(odes, file))
    states = tuple(name for name, _ in equations)
    if not states:
        _refuse(file, "there is no equation in the list")
    values = _values(graph, parameters, file)
    bodies = [_FUNCTION_OF_TIME.sub(r"\1", body) for _, body in equations]
    # constant species and the like occur in the equations without a value in the list of parameters
    used = {word for body in bodies for word in _NAME.findall(body)} - {"t"}
    twice = sorted(name for name in states if states.count(name) > 1 or name in values)
    if twice:
        _refuse(file, f"{twice[0]} is defined twice")
    constants = [*values, *sorted(used - set(states) - set(values), key=_natural)]
    symbols = {name: graph.symbol(name) for name in (*states, *constants)}
    symbols["t"] = graph.time() if "t" not in symbols else symbols["t"]
    rhs = tuple(_expression(graph, body, symbols, name, file) for name, body in zip(states, bodies, strict=True))
    nan = graph.constant("notanumber")
    system = OdeSystem(
        graph,
        states,
        (nan,) * len(states),
        rhs,
        constants=tuple(Constant(name, values.get(name)) for name in constants),
        id=id,
        origin=Origin(format="odebase", file=file),
    )
    maps = [MappingProxyType(dict(_assignments(text, file))) for text in (species_map, parameter_map)]
    return OdebaseSystem(system, maps[0], maps[1])


def _equations(text: str, file: str) -> Iterator[tuple[str, str]]:
    """State and right-hand side of each equation of the bracketed list."""
    body = text.strip()
    if not (body.startswith("[") and body.endswith("]")):
        _refuse(file, "the equations are not a list in brackets")
    body = body[1:-1]
    position = 0
    while body[position:].strip():
        match = _EQUATION.match(body, position)
        if match is None:
            _refuse(file, f"an equation was expected at {_near(body, position)}")
        end = _closing(body, match.end(), file)
        yield match[1], body[match.end() : end]
        rest = re.compile(r"\s*,?").match(body, end + 1)
        position = rest.end() if rest else end + 1
        if not (rest and rest.group().strip()) and body[position:].strip():
            _refuse(file, f"a comma was expected at {_near(body, position)}")


def _closing(text: str, start: int, file: str) -> int:
    """Position of the parenthesis that closes the one before `start`."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            break
    else:
        _refuse(file, f"a parenthesis is not closed after {_near(text, start)}")
    return position


def _assignments(text: str, file: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        left, mark, right = line.partition("=")
        if not mark or not _NAME.fullmatch(left.strip()) or not right.strip():
            _refuse(file, f"line {number} of a list is not 'name = value': {line.strip()[:60]!r}")
        yield left.strip(), right.strip()


def _values(graph: Graph, text: str, file: str) -> dict[str, Node]:
    values: dict[str, Node] = {}
    for name, written in _assignments(text, file):
        if name in values:
            _refuse(file, f"{name} has two values")
        node = _expression(graph, written, {}, name, file)
        if not isinstance(graph.number_of(node), Fraction):
            _refuse(file, f"the value of {name} is not a number: {written[:60]!r}")
        values[name] = node
    return values


def _expression(graph: Graph, text: str, symbols: Mapping[str, Node], name: str, file: str) -> Node:
    try:
        return parse_expression(graph, text, symbols)
    except (ExpressionError, ZeroDivisionError) as error:
        _refuse(file, f"the expression of {name}: {error}", name)


def _natural(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _near(text: str, position: int) -> str:
    return repr(text[position : position + 40].strip())


def _refuse(file: str, message: str, element: str | None = None) -> NoReturn:
    raise InputError(Reason("odebase-syntax", f"{file}: {message}", element))


# -- Hold a system of ODEbase against our own translation ------------------------------------------

# Both are evaluated at the same random states. States are matched by the name map where it names ids or names of the
# SBML file, else by the order of the species, which ODEbase keeps.


Verdict = Literal["agrees", "agrees-with-other-values", "differs", "not-compared"]


@dataclass(frozen=True, slots=True)
class TranslationComparison:
    """How two translations of one model relate.

    Attributes
    ----------
    id : str
    verdict : str
        ``agrees``; ``agrees-with-other-values``: the equations agree when parameter values of ODEbase that differ
        from the file's are put in their place; ``differs``; ``not-compared``.
    explanation : str
        One sentence.
    matched_by : str or None
        ``name map`` or ``order``.
    states : int or None
        Number compared.
    error : float or None
        Largest relative difference of a rate.
    differences : tuple of str
        Ids (ODEbase, ours) of the states whose rates differ.
    """

    id: str
    verdict: Verdict
    explanation: str
    matched_by: str | None = None
    states: int | None = None
    error: float | None = None
    differences: tuple[tuple[str, str], ...] = ()


def compare_systems(
    theirs: OdebaseSystem, ours: OdeSystem, *, points: int = 8, tolerance: float = 1e-9, seed: int = 0
) -> TranslationComparison:
    """Compare the rates at random states.

    Parameters
    ----------
    theirs : OdebaseSystem
    ours : OdeSystem
        From the SBML file of the same id.
    points : int
        Random states; values are drawn from [1/2, 3/2].
    tolerance : float
        Relative difference (of a rate, by the larger of both and 1e-12 of the largest) that still agrees.
    seed : int
    """
    id = theirs.system.id
    matches = [m for m in (_by_names(theirs, ours), _by_order(theirs, ours)) if m is not None]
    if not matches:
        counts = f"ODEbase has {theirs.system.size} states and the SBML file {ours.size}"
        return TranslationComparison(
            id, "differs", f"the states cannot be matched: {counts}, and the name map does not help"
        )
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 1.5, (points, theirs.system.size))
    best: TranslationComparison | None = None
    for matched_by, names in matches:
        found = _compare_matched(theirs, ours, (matched_by, names), x, tolerance)
        if found.verdict == "agrees":
            return found
        best = best or found
    assert best is not None
    other = _with_their_values(theirs, ours)
    if other is not None:
        changed, renamed = other
        for match in matches:
            found = _compare_matched(theirs, renamed, match, x, tolerance)
            if found.verdict == "agrees":
                told = f"the equations agree; values differ from those of the file: {changed}"
                return replace(found, verdict="agrees-with-other-values", explanation=told)
    return best


_Match = tuple[str, Mapping[str, str]]


def _by_names(theirs: OdebaseSystem, ours: OdeSystem) -> _Match | None:
    """Match by the name map: every original name is an id or the one name of a state."""
    by_name: dict[str, list[str]] = {}
    for state in ours.states:
        quantity = ours.quantities.get(state)
        by_name.setdefault((quantity.name if quantity else None) or state, []).append(state)
    names: dict[str, str] = {}
    for state in theirs.system.states:
        original = theirs.species.get(state, "")
        alike = by_name.get(original, [])
        if original in ours.state_index:
            names[state] = original
        elif len(alike) == 1:
            names[state] = alike[0]
    complete = len(names) == theirs.system.size == ours.size and len(set(names.values())) == len(names)
    return ("name map", names) if complete else None


def _by_order(theirs: OdebaseSystem, ours: OdeSystem) -> _Match | None:
    if theirs.system.size != ours.size:
        return None
    return "order", dict(zip(theirs.system.states, ours.states, strict=True))


def _compare_matched(
    theirs: OdebaseSystem, ours: OdeSystem, match: _Match, x: Array, tolerance: float
) -> TranslationComparison:
    matched_by, names = match
    filled = _with_missing_values(theirs, ours)
    if isinstance(filled, str):
        return TranslationComparison(
            theirs.system.id, "not-compared", f"ODEbase gives no value of {filled}, nor does the file"
        )
    columns = [ours.state_index[names[state]] for state in filled.states]
    arranged = np.empty_like(x)
    arranged[:, columns] = x
    a, b = filled.rates(0.0, x), ours.rates(0.0, arranged)[:, columns]
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        finite = np.isfinite(a) & np.isfinite(b)
        bad = [state for state, column in zip(filled.states, finite.T, strict=True) if not column.all()]
        text = f"the rates of {_some(bad)} have no finite value at random states"
        return TranslationComparison(theirs.system.id, "not-compared", text, matched_by, filled.size)
    scale = np.maximum(np.maximum(np.abs(a), np.abs(b)), 1e-12 * np.abs(b).max(axis=1, keepdims=True))
    error = np.divide(np.abs(a - b), scale, out=np.zeros_like(a), where=scale > 0).max(axis=0)
    wrong = [state for state, e in zip(filled.states, error, strict=True) if not e <= tolerance]
    largest = float(error.max())
    if not wrong:
        return TranslationComparison(theirs.system.id, "agrees", "agrees", matched_by, filled.size, largest)
    pairs = tuple((state, names[state]) for state in wrong)
    text = f"the rates of {_some(f'{p} ({q})' for p, q in pairs)} differ, by up to {largest:.2g} of their size"
    return TranslationComparison(theirs.system.id, "differs", text, matched_by, filled.size, largest, pairs)


def _with_missing_values(theirs: OdebaseSystem, ours: OdeSystem) -> OdeSystem | str:
    """Constants without a value (constant species) take that of the quantity the maps name; else their name."""
    missing = [c.id for c in theirs.system.constants if c.value is None]
    values: dict[str, Fraction] = {}
    for name in missing:
        original = theirs.species.get(name) or theirs.parameters.get(name) or name
        node = ours.constant_values.get(original)
        value = ours.graph.number_of(node) if node is not None else None
        if value is None:
            return name
        values[name] = value
    return theirs.system.with_values(values) if values else theirs.system


def _with_their_values(theirs: OdebaseSystem, ours: OdeSystem) -> tuple[str, OdeSystem] | None:
    """Our system with the parameter values of ODEbase, and what changed; ``None`` if nothing does."""
    graph = theirs.system.graph
    changed: dict[str, Fraction] = {}
    for name, node in theirs.system.constant_values.items():
        original, value = theirs.parameters.get(name, ""), graph.number_of(node)
        own = ours.constant_values.get(original)
        if value is not None and own is not None and ours.graph.number_of(own) != value:
            changed[original] = value
    if not changed:
        return None
    return _some(f"{name} = {float(value):g}" for name, value in changed.items()), ours.with_values(changed)


def _some(items: Iterable[str]) -> str:
    return some_names(list(items), 4)
