"""Arguments of roots and logarithms as powers of one positive quantity, so that √u·√u is seen to be u.

Over GF(p) the value and the derivative of every power and logarithm are hashes of their own, and what they have to do
with their argument is not known. Where a rational power of u, its logarithm, or u itself stand side by side, all of
them are written here as whole powers of one root: u = r^q and u^(n/q) = r^n, with r a function of u of which nothing
else is known; further exp(c·ln u) = u^c for rational c, and (u^k)^c = u^(k·c) and ln(u^k) = k·ln u for odd k, and
ln(exp(a)·u) = a + ln u.

**What is proved about the rewritten expressions holds on the whole real domain of the original ones**, on both sides
of every singularity. Let F be an expression, x and x′ two states of one fibre of the lumping at which F has a real
value, and F̂ the rewritten expression, whose derivatives along the fibre vanish when every r, and every other
function of which nothing is known, is *any* function. A power u^(n/q) that is not a whole one, and ln u, have a real
value for u > 0 (and u = 0) only. So there is at x and at x′ a real r ≥ 0 with r^q = u, and (r^q)^(n/q) = r^n; where F
mentions u without such a root, u may be negative, a complex r with r^q = u will do, and F̂ mentions r^q alone. Choose
entire functions r(·) that have these values at the arguments that occur at x and at x′ (interpolation: there are
finitely many). Then F̂ is a meromorphic function on the fibre, which is an affine space and stays connected without
the poles; its derivative is 0; so F(x) = F̂(x) = F̂(x′) = F(x′). Nothing was said about the sign of anything: u and,
say, u·u in √(u·u)/u remain two quantities with two roots that have nothing to do with each other, and no relation
between them is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Final

from sbmlump.expr.graph import Graph, Node, Op

__all__ = ["with_positive_arguments"]

_MOST_DEGREE: Final = 60  # of a root, so that degrees, and with them the chance of error, stay small


def with_positive_arguments(graph: Graph, roots: Sequence[Node]) -> list[Node]:
    """The expressions, rewritten as described above; the very same nodes where there is nothing to rewrite.

    Parameters
    ----------
    graph : Graph
        Takes the new nodes.
    roots : sequence of Node
    """
    powers = _without_exponentials_of_logarithms(graph, roots)
    degrees = _root_degrees(graph, powers)
    return _by_roots(graph, powers, degrees) if degrees else powers


def _without_exponentials_of_logarithms(graph: Graph, roots: Sequence[Node]) -> list[Node]:
    """exp(c·ln u + rest) as u^c·exp(rest), and powers and logarithms of odd powers by those of their base."""
    new: dict[Node, Node] = {}
    for node in graph.reachable(roots):
        args = tuple(new[arg] for arg in graph.args(node))
        op = graph.op(node)
        name = graph.name(node) if op is Op.CALL else ""
        if name == "exp":
            new[node] = _exponential(graph, args[0])
        elif name == "ln":
            new[node] = _logarithm(graph, args[0])
        elif op is Op.POW and (outer := graph.number_of(args[1])) is not None:
            new[node] = _power(graph, args[0], outer)
        else:
            new[node] = graph.rebuild(op, args, graph.payload(node))
    return [new[root] for root in roots]


def _exponential(graph: Graph, exponent: Node) -> Node:
    terms = graph.linear_terms(exponent)
    logarithms = {t: c for t, c in terms.items() if graph.op(t) is Op.CALL and graph.name(t) == "ln"}
    if not logarithms:
        return graph.call("exp", (exponent,))
    rest = graph.from_terms({t: c for t, c in terms.items() if t not in logarithms})
    factors = [_power(graph, graph.args(t)[0], c) for t, c in logarithms.items()]
    return graph.mul((*factors, graph.call("exp", (rest,))))


def _logarithm(graph: Graph, argument: Node) -> Node:
    """ln u, with exponentials among the factors of u, which are positive, and an odd power of u taken out."""
    factors = graph.args(argument) if graph.op(argument) is Op.MUL else (argument,)
    exponentials = [node for node in factors if graph.op(node) is Op.CALL and graph.name(node) == "exp"]
    rest = argument if not exponentials else graph.mul(node for node in factors if node not in exponentials)
    base, exponent = _base_of(graph, rest)
    parts = [graph.args(node)[0] for node in exponentials]
    return graph.add((*parts, graph.scaled(exponent, graph.call("ln", (base,)))))


def _power(graph: Graph, base: Node, exponent: Fraction) -> Node:
    """base^exponent; a power of an odd power, and of one that is no whole one, with the product of the exponents."""
    if exponent.denominator != 1:
        base, inner = _base_of(graph, base)
        exponent *= inner
    elif graph.op(base) is Op.POW:
        inner_exponent = graph.number_of(graph.args(base)[1])
        if inner_exponent is not None and inner_exponent.denominator != 1:
            base, exponent = graph.args(base)[0], exponent * inner_exponent
    return graph.pow(base, graph.number(exponent))


def _base_of(graph: Graph, node: Node) -> tuple[Node, Fraction]:
    """u and k where ``node`` is u^k and positive for positive u only, or else itself and 1."""
    if graph.op(node) is Op.POW:
        base, exponent = graph.args(node)
        number = graph.number_of(exponent)
        if number is not None and (number.denominator != 1 or number.numerator % 2):
            return base, number
    return node, Fraction(1)


def _root_degrees(graph: Graph, roots: Sequence[Node]) -> dict[Node, int]:
    """For each base of powers that are no whole ones, the common denominator of their exponents."""
    degrees: dict[Node, int] = {}
    for node in graph.reachable(roots):
        if graph.op(node) is not Op.POW:
            continue
        base, exponent = graph.args(node)
        number = graph.number_of(exponent)
        if number is None or number.denominator == 1 or graph.op(base) in (Op.NUMBER, Op.CONSTANT):
            continue
        degrees[base] = lcm(degrees.get(base, 1), number.denominator)
    return {base: degree for base, degree in degrees.items() if degree <= _MOST_DEGREE}


def _by_roots(graph: Graph, roots: Sequence[Node], degrees: dict[Node, int]) -> list[Node]:
    """Every base by its root of that degree, and its powers by powers of that root.

    A base c·v is written so at v, as r^q/c: sums have v in them with factors of their own.
    """
    new: dict[Node, Node] = {}
    of_base: dict[Node, Node] = {}
    cores: dict[Node, Node] = {}
    for base in degrees:
        if graph.op(base) is Op.MUL and graph.number_of(graph.args(base)[0]) is not None:
            core = graph.args(base)[1]
            if core not in degrees:
                cores.setdefault(core, base)
    for node in graph.reachable(roots):
        args = graph.args(node)
        if graph.op(node) is Op.POW and args[0] in of_base and (number := graph.number_of(args[1])) is not None:
            whole = number * degrees[args[0]]
            new[node] = graph.pow(of_base[args[0]], graph.number(whole))
        else:
            new[node] = graph.rebuild(graph.op(node), [new[arg] for arg in args], graph.payload(node))
        if node in cores:
            base = cores[node]
            factor = graph.number_of(graph.args(base)[0])
            assert factor is not None
            of_base[base] = graph.pow(graph.scaled(factor, new[node]), graph.number(Fraction(1, degrees[base])))
            new[node] = graph.scaled(1 / factor, graph.pow(of_base[base], graph.number(degrees[base])))
        elif node in degrees and node not in of_base:
            of_base[node] = graph.pow(new[node], graph.number(Fraction(1, degrees[node])))
            new[node] = graph.pow(of_base[node], graph.number(degrees[node]))
    return [new[root] for root in roots]
