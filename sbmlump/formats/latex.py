"""Equations of a model as LaTeX, and the lumping matrix as a table of comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from sbmlump.model.graph import RELATIONS, Graph, Node
from sbmlump.model.reduced import ReducedSystem
from sbmlump.model.system import Event, OdeSystem
from sbmlump.model.text import (
    ATOM,
    OPEN,
    PRODUCT,
    SUM,
    GraphPrinter,
    Operand,
    Spelling,
    combination,
    exact_repr,
    joined,
    one_line,
)

__all__ = ["LatexSettings", "latex_equations", "latex_reduction", "lumping_csv", "node_to_latex", "PartPrinter"]


@dataclass(frozen=True, slots=True)
class LatexSettings:
    """How long lines become.

    Attributes
    ----------
    part : int or None
        Characters from which a part of an expression gets a name of its own (six lines of a page); ``None``: never.
    members : int
        Terms of a lump that are printed.
    """

    part: int | None = 600
    members: int = 20


_SETTINGS: Final = LatexSettings()
_SPECIAL: Final = str.maketrans(
    {mark: f"\\{mark}" for mark in "_&%#${}"}
    | {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "\ufffd": "?",
    }
)
_RELATIONS: Final = {"lt": "<", "leq": r"\le", "gt": ">", "geq": r"\ge", "eq": "=", "neq": r"\ne"}
_LOGIC: Final = {"and": r"\land", "or": r"\lor", "xor": r"\oplus"}
_CONSTANTS: Final = {"pi": r"\pi", "exponentiale": r"\mathrm{e}", "infinity": r"\infty"}
_HEAD: Final = r"""\documentclass{article}
\usepackage{amsmath}
\usepackage[utf8]{inputenc}
\allowdisplaybreaks
\begin{document}
"""


def latex_reduction(reduced: ReducedSystem, settings: LatexSettings = _SETTINGS) -> bytes:
    """A document with the lumps, the equations of the reduced model and its observables."""
    lumps = [
        f"{_id(lump.id)} &= {_combination(lump.members, settings)}" for lump in reduced.lumps if not lump.is_single
    ]
    text = _title(
        f"{reduced.original.name or reduced.original.id}, reduced from {reduced.original.size} to "
        f"{reduced.system.size} states"
    )
    if lumps:
        text += "Lumps of states of the original model:\n" + _align(lumps)
    return (_HEAD + text + _equations(reduced.system, settings) + "\\end{document}\n").encode()


def latex_equations(system: OdeSystem, settings: LatexSettings = _SETTINGS) -> bytes:
    """A document with the equations of a model, its initial values and its assigned quantities."""
    return (_HEAD + _title(system.name or system.id) + _equations(system, settings) + "\\end{document}\n").encode()


def lumping_csv(reduced: ReducedSystem) -> bytes:
    """The lumping matrix: a row for each lump, a column for each original state; entries exact, empty for 0."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    states = reduced.matrix.states
    writer.writerow(["lump", *states])
    for lump, row in zip(reduced.lumps, reduced.matrix.rows, strict=True):
        writer.writerow([lump.id, *(str(row[j]) if j in row else "" for j in range(len(states)))])
    return stream.getvalue().encode()


def _title(text: str) -> str:
    return f"\\section*{{{_text(text)}}}\n"


def _text(text: str) -> str:
    """Any text as LaTeX that prints it: no character of it is a command."""
    return one_line(text).translate(_SPECIAL)


def _equations(system: OdeSystem, settings: LatexSettings) -> str:
    printer = _LatexPrinter(system.graph, settings.part)
    rates = [
        rf"\frac{{\mathrm{{d}} {_id(name)}}}{{\mathrm{{d}} t}} &= {printer.text(rhs)}"
        for name, rhs in zip(system.states, system.rhs, strict=True)
    ]
    starts = [f"{_id(n)}(0) &= {printer.text(v)}" for n, v in zip(system.states, system.initial, strict=True)]
    assigned = [f"{_id(one.id)} &= {printer.text(one.value)}" for one in system.assigned]
    events = [line for event in system.events for line in _event(event, printer)]
    inside = [node for event in system.events for node in _nodes(event)]
    used = sorted(
        system.graph.symbols([*system.rhs, *system.initial, *(one.value for one in system.assigned), *inside])
    )
    values = [
        f"{_id(name)} &= {printer.text(system.constant_values[name])}"
        for name in used
        if name in system.constant_values
    ]
    names = [f"{name} &= {text}" for name, text in printer.named.values()]
    parts = (
        ("Equations:", rates),
        ("with", names),
        ("Initial values:", starts),
        ("Quantities that follow:", assigned),
        ("Events:", events),
        ("Constants:", values),
    )
    return "".join(f"{title}\n{_align(lines)}" for title, lines in parts if lines)


def _event(event: Event, printer: _LatexPrinter) -> list[str]:
    """When it happens, and what it sets."""
    first = rf"&\text{{when }} {printer.text(event.trigger)} \text{{ becomes true}}"
    if event.delay is not None:
        first += rf", \text{{ after }} {printer.text(event.delay)}"
    if event.priority is not None:
        first += rf", \text{{ with priority }} {printer.text(event.priority)}"
    if not event.persistent:
        first += r", \text{ if it stays true till then}"
    if not event.initial_value:
        first += r", \text{ also at time 0}"
    if not event.use_trigger_values:
        first += r", \text{ with the values of the moment of execution}"
    changes = [*event.assignments, *event.implied]
    return [first + ":", *(rf"&\qquad {_id(name)} \leftarrow {printer.text(node)}" for name, node in changes)]


def _nodes(event: Event) -> list[Node]:
    parts = (event.trigger, event.delay, event.priority, *(node for _, node in (*event.assignments, *event.implied)))
    return [node for node in parts if node is not None]


def _align(lines: list[str]) -> str:
    return "\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}\n"


def _combination(members: Mapping[str, Fraction], settings: LatexSettings) -> str:
    terms = [(_id(name), value) for name, value in members.items()]
    return combination(terms, settings.members, times=r"\,", more=r"+ \ldots \text{{ ({} more)}}", number=_number)


def _id(name: str) -> str:
    return rf"\mathit{{{_text(name)}}}"


def _number(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    if shortest := exact_repr(value):
        digits, mark, exponent = shortest.partition("e")
        return rf"{digits} \cdot 10^{{{int(exponent)}}}" if mark else shortest
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def node_to_latex(graph: Graph, node: Node) -> str:
    """One expression, opened down to its ids."""
    return _LatexPrinter(graph, None).text(node)


class PartPrinter(GraphPrinter):
    """Prints nodes of one graph; long parts are named ``e_1`` and so on, so texts are kept instead of streamed.

    Parameters
    ----------
    graph : Graph
    longest : int or None
        Characters from which a part gets a name of its own; ``None``: none does.

    Attributes
    ----------
    named : dict of Node to (str, str)
        Name and text of each of these parts, in an order in which each needs earlier ones only.
    """

    def __init__(self, graph: Graph, longest: int | None) -> None:
        super().__init__(graph)
        self._longest = longest
        self._texts: dict[Node, tuple[int, str]] = {}
        self.named: dict[Node, tuple[str, str]] = {}

    def text(self, root: Node) -> str:
        """The expression ``root``, with names for its long parts."""
        for node in self.graph.reachable([root]):
            if node not in self._texts:
                level, pieces = self.spell(node)
                text = "".join(piece if isinstance(piece, str) else self._wrapped(*piece) for piece in pieces)
                if self._longest is not None and len(text) > self._longest and node != root:
                    name = self.part_name(len(self.named) + 1)
                    self.named[node] = (name, text)
                    level, text = ATOM, name
                self._texts[node] = level, text
        return self._texts[root][1]

    def _wrapped(self, node: Node, level: int) -> str:
        own, text = self._texts[node]
        return text if own >= level else self.bracketed(text)

    def known(self, node: Node) -> tuple[int, str]:
        """How tightly a part that was spelled before holds together, and its text."""
        return self._texts[node]

    def part_name(self, number: int) -> str:
        """What the part that is the ``number``-th to get a name is called."""
        return f"e_{{{number}}}"

    def bracketed(self, text: str) -> str:
        """``text`` in parentheses."""
        return rf"\left({text}\right)"


class _LatexPrinter(PartPrinter):
    """LaTeX of nodes."""

    def number(self, value: Fraction) -> Spelling[Node]:
        return SUM if value < 0 else PRODUCT if value.denominator != 1 else ATOM, [_number(value)]

    def symbol(self, name: str) -> str:
        return _id(name)

    def time(self) -> str:
        return "t"

    def constant(self, name: str) -> str:
        return _CONSTANTS.get(name, rf"\text{{{name}}}")

    def sum(self, args: Sequence[Node]) -> Spelling[Node]:
        text = self._texts[args[0]][1]
        for arg in args[1:]:
            term = self._texts[arg][1]
            text += f" - {term[1:].lstrip()}" if term.startswith("-") else f" + {term}"
        return SUM, [text]

    def product(self, args: Sequence[Node]) -> Spelling[Node]:
        first = self.graph.number_of(args[0])
        if first == -1:
            return SUM, ["-", *joined(args[1:], r" \, ", PRODUCT)]
        if first is not None and first < 0:
            return SUM, [Operand(args[0], SUM), r" \, ", *joined(args[1:], r" \, ", PRODUCT)]
        return PRODUCT, joined(args, r" \, ", PRODUCT)

    def quotient(self, top: Node, bottom: Node) -> Spelling[Node]:
        return PRODUCT, [r"\frac{", Operand(top, OPEN), "}{", Operand(bottom, OPEN), "}"]

    def power(self, base: Node, exponent: Node) -> Spelling[Node]:
        if self.graph.number_of(exponent) == Fraction(1, 2):
            return PRODUCT, [r"\sqrt{", Operand(base, OPEN), "}"]
        return PRODUCT, ["{", Operand(base, ATOM), "}^{", Operand(exponent, OPEN), "}"]

    def piecewise(self, args: Sequence[Node]) -> Spelling[Node]:
        out: list[str | Operand[Node]] = [r"\begin{cases} "]
        for value, condition in zip(args[:-1:2], args[1::2], strict=True):
            out += [Operand(value, OPEN), r" & \text{if } ", Operand(condition, OPEN), r" \\ "]
        return ATOM, [*out, Operand(args[-1], OPEN), r" & \text{otherwise} \end{cases}"]

    def call(self, name: str, args: Sequence[Node]) -> Spelling[Node]:
        if name in RELATIONS:
            return SUM, joined(args, f" {_RELATIONS[name]} ")
        if name in _LOGIC:
            return SUM, [r"\left(", *joined(args, rf"\right) {_LOGIC[name]} \left("), r"\right)"]
        head = r"\lnot " if name == "not" else rf"\operatorname{{{name}}}"
        return ATOM, [rf"{head}\left(", *joined(args), r"\right)"]
