"""Systems of ODEbase: equations, parameter values and name maps as its pages give them.

ODEbase translates SBML files independently of us, so its systems are an oracle for the reader: see
:mod:`sbmlump.formats.odebase_compare`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

from sbmlump.errors import InputError, Reason
from sbmlump.expr.graph import Graph, Node
from sbmlump.expr.text import ExpressionError, parse_expression
from sbmlump.system import Constant, OdeSystem, Origin

__all__ = ["OdebaseSystem", "load_odebase", "parse_odebase"]

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
        Codes ``unreadable-file``, ``odebase-syntax``.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(Reason("unreadable-file", f"{path} cannot be read ({error.strerror}); crawl again")) from error
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
