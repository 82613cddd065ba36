"""Nodes of an expression graph as MathML text.

The text is made here rather than through libSBML's syntax trees, because those print numbers with 15 digits, take
quadratic time over long sums and crash on deep trees; what is written is read back with libSBML afterwards
(``write_check``). Everything is a loop: an expression may be as deep as ``write_sharing`` lets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

from sbmlump.expr.generic_values import field_values
from sbmlump.expr.graph import Graph, Node, Op
from sbmlump.sbml.write_numbers import NumberTexts, is_decimal

__all__ = ["MATHML", "MAX_TERMS", "FactorOrder", "MathmlPrinter"]

MATHML: Final = "http://www.w3.org/1998/Math/MathML"
_TIME: Final = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time"> time </csymbol>'
_END: Final = "</apply>"
MAX_TERMS: Final = 128
"""Terms of a written sum; libRoadRunner crashes on sums of 10,000."""

_Part = str | Node
"""A piece of finished text, or a node still to be printed."""


class MathmlPrinter:
    """Prints expressions of one graph; ``names`` are nodes printed as an id instead of being opened.

    Parameters
    ----------
    graph : Graph
    names : mapping of Node to str
        Ids that always have the value of the node.
    numbers : NumberTexts
        Shared by everything written into one document.
    order : FactorOrder
        In which order factors are printed.
    """

    __slots__ = ("_graph", "_names", "_numbers", "_order", "_parts")

    def __init__(self, graph: Graph, names: Mapping[Node, str], numbers: NumberTexts, order: FactorOrder) -> None:
        self._graph = graph
        self._names = names
        self._numbers = numbers
        self._order = order
        self._parts: dict[Node, tuple[_Part, ...]] = {}

    def math(self, root: Node, owner: str | None = None) -> str:
        """A ``math`` element; ``owner`` is the id that this expression defines, which cannot stand in it."""
        return f'<math xmlns="{MATHML}">{self.text(root, owner)}</math>'

    def text(self, root: Node, owner: str | None = None) -> str:
        """Content MathML of ``root``."""
        out: list[str] = []
        name = self._names.get(root)
        first = self._open(root) if name is None or name == owner else (f"<ci> {name} </ci>",)
        stack: list[_Part] = list(reversed(first))
        names = self._names
        while stack:
            part = stack.pop()
            if isinstance(part, str):
                out.append(part)
            elif part in names:
                out.append(f"<ci> {names[part]} </ci>")
            else:
                parts = self._open(part)
                if len(parts) == 1:
                    stack.append(parts[0])
                else:
                    stack.extend(reversed(parts))
        return "".join(out)

    def name_of(self, node: Node) -> str | None:
        """The id that stands for ``node`` where it is used."""
        return self._names.get(node)

    def ids(self, root: Node, owner: str | None = None) -> set[str]:
        """Ids that stand in the printed text of ``root``."""
        graph, names = self._graph, self._names
        found: set[str] = set()
        seen: set[Node] = set()
        stack = [root]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            name = names.get(node)
            if name is not None and not (node == root and name == owner):
                found.add(name)
            elif graph.op(node) is Op.SYMBOL:
                found.add(graph.name(node))
            else:
                stack.extend(graph.args(node))
        return found

    # -- one level -----------------------------------------------------------------------------------

    def _open(self, node: Node) -> tuple[_Part, ...]:
        parts = self._parts.get(node)
        if parts is None:
            parts = self._parts[node] = self._make(node)
        return parts

    def _make(self, node: Node) -> tuple[_Part, ...]:
        graph = self._graph
        op, args = graph.op(node), graph.args(node)
        if op is Op.NUMBER:
            value = graph.number_of(node)
            assert value is not None
            return (self._numbers.text(value),)
        if op is Op.SYMBOL:
            return (f"<ci> {graph.name(node)} </ci>",)
        if op is Op.TIME:
            return (_TIME,)
        if op is Op.CONSTANT:
            return (f"<{graph.name(node)}/>",)
        if op is Op.ADD:
            return self._sum(args)
        if op is Op.MUL:
            return self._product(*self._factors(node))
        if op is Op.PIECEWISE:
            return _piecewise(args)
        tag = {Op.DIV: "divide", Op.POW: "power"}.get(op) or graph.name(node)
        return (f"<apply><{tag}/>", *args, _END)

    def _sum(self, args: tuple[Node, ...]) -> tuple[_Part, ...]:
        negative = self._subtracted(args)
        if negative is not None:
            return ("<apply><minus/>", args[0], *negative, _END)
        # (a + b) + c is how libSBML reads a + b + c
        graph, names = self._graph, self._names
        tails: list[tuple[Node, ...]] = []
        while args[0] not in names and graph.op(args[0]) is Op.ADD:
            inner = graph.args(args[0])
            if self._subtracted(inner) is not None:
                break
            tails.append(args[1:])
            args = inner
        return _many("plus", (*args, *(term for tail in reversed(tails) for term in tail)))

    def _subtracted(self, args: tuple[Node, ...]) -> tuple[_Part, ...] | None:
        """Parts of −b if a sum is printed as a − b: it has two terms, and the second is a negative one."""
        if len(args) != 2 or args[1] in self._names:
            return None
        value = self._graph.number_of(args[1])
        if value is not None:
            return (self._numbers.text(-value),) if value < 0 else None
        if self._graph.op(args[1]) is not Op.MUL:
            return None
        factor, rest = self._factors(args[1])
        return self._product(-factor, rest) if factor < 0 else None

    def _factors(self, node: Node) -> tuple[Fraction, tuple[Node, ...]]:
        """Number and other factors of a product c·(x·y·…), the latter in the order of printing."""
        graph = self._graph
        args = graph.args(node)
        factor = graph.number_of(args[0])
        if factor is None:
            factor = Fraction(1)
        elif len(args) == 2 and args[1] not in self._names and graph.op(args[1]) is Op.MUL:
            args = graph.args(args[1])
        else:
            args = args[1:]
        return factor, self._sorted(args)

    def _sorted(self, args: tuple[Node, ...]) -> tuple[Node, ...]:
        names, key = self._names, self._order.key
        return tuple(sorted(args, key=lambda node: key(node, names.get(node))))

    def _product(self, factor: Fraction, rest: tuple[Node, ...]) -> tuple[_Part, ...]:
        """factor · rest; a factor that no decimal text can hold becomes a division."""
        if factor == 1:
            return rest if len(rest) == 1 else _many("times", rest)
        if factor == -1:
            return ("<apply><minus/>", *self._product(Fraction(1), rest), _END)
        if factor.denominator != 1 and not is_decimal(factor):
            top = self._product(Fraction(factor.numerator), rest)
            return ("<apply><divide/>", *top, self._numbers.text(Fraction(factor.denominator)), _END)
        return _many("times", (self._numbers.text(factor), *rest))


class FactorOrder:
    """An order of factors that does not depend on how the graph came about: numbers, ids by rank and name, the rest.

    Parameters
    ----------
    graph : Graph
    roots : sequence of Node
        Everything that will be printed.
    ranks : mapping of str to int
        Place of an id among others, smaller first; 0 where it is absent.
    """

    __slots__ = ("_graph", "_hashes", "_ranks")

    def __init__(self, graph: Graph, roots: Sequence[Node], ranks: Mapping[str, int]) -> None:
        self._graph = graph
        self._ranks = ranks
        compound: set[Node] = set()
        for node in graph.reachable(roots):
            if graph.op(node) is Op.MUL:
                several = [arg for arg in graph.args(node) if graph.args(arg)]
                if len(several) > 1:
                    compound.update(several)
        # values at a random point tell expressions apart without regard to the numbers of their nodes
        self._hashes = field_values(graph, sorted(compound)) if compound else {}

    def key(self, node: Node, name: str | None) -> tuple[int, int, str, int]:
        """Sorting key of ``node``, which is printed as ``name`` if that is given."""
        graph = self._graph
        op = graph.op(node)
        if op is Op.NUMBER:
            return 0, 0, "", 0
        if name is None and op is Op.SYMBOL:
            name = graph.name(node)
        if name is not None:
            return 1, self._ranks.get(name, 0), name, 0
        if op is Op.TIME or op is Op.CONSTANT:
            return 2, 0, str(graph.payload(node)), 0
        return 3, 0, "", self._hashes.get(node, 0)


def _many(tag: str, args: Sequence[_Part]) -> tuple[_Part, ...]:
    """An n-ary sum or product; a very long one in groups, because libSBML reads it as nested pairs."""
    groups: list[tuple[_Part, ...]] = [(arg,) for arg in args]
    while len(groups) > MAX_TERMS:
        groups = [_applied(tag, groups[low : low + MAX_TERMS]) for low in range(0, len(groups), MAX_TERMS)]
    return _applied(tag, groups)


def _applied(tag: str, groups: Sequence[tuple[_Part, ...]]) -> tuple[_Part, ...]:
    if len(groups) == 1:
        return groups[0]
    return (f"<apply><{tag}/>", *(part for group in groups for part in group), _END)


def _piecewise(args: tuple[Node, ...]) -> tuple[_Part, ...]:
    parts: list[_Part] = ["<piecewise>"]
    for value, condition in zip(args[:-1:2], args[1::2], strict=True):
        parts += ("<piece>", value, condition, "</piece>")
    return (*parts, "<otherwise>", args[-1], "</otherwise></piecewise>")
