"""Random systems with identities that hold on one side of a singularity only, and with such that hold everywhere.

A small system in y is hidden in a larger one by a random unimodular change of variables. The rates of y mention the
other variables w through terms that do not depend on them: everywhere (``TRUE``), or on each side of a singularity by
itself (``FALSE``). In the first kind of system y is a true lumping, in the second it is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

import mpmath
import numpy as np

from sbmlump.model import Graph, Node, OdeSystem, Op, ReducedSystem, parse_expression

# u, v: linear forms in w; p, q: linear forms in y; uu, dd, uuvv: the squares of u, u - v and u·v, multiplied out or not
FALSE = (
    "exp(ln(uu)/2)/u",
    "exp(ln(uu)/2) - u",
    "exp(ln(dd)/2)/(u - v)",
    "exp(ln(uuvv)/2)/(u*v)",
    "exp(-ln(uu)/2)*u",
    "exp(ln(uu^2)/4)/u",
    "exp(3*ln(uu)/2)/u^3",
    "exp(ln(uu)*(1 + p^2)/(2 + 2*p^2))/u",
    "exp(ln(uu)/2 + p)/(u*exp(p))",
    "exp((ln(u*v) - ln(u/v))/2)/v",
    "exp((ln(u*v) + ln(u/v))/2)/u",
    "exp(ln(u*v)/2 - ln(v/u)/2)/u",
    "sqrt(uu)/u",
    "sqrt(dd) - (u - v)",
    "uu^(3/2)/u^3",
    "(uu^2)^(1/4)/u",
    "sqrt(u*v)*sqrt(u/v)/u",
    "abs(u)/u",
    "abs(u - v) - (u - v)",
    "abs(u)*abs(v)/(u*v)",
    "max(u, 0) - u",
    "min(u, v) - v",
    "arctan(u) + arctan(1/u)",
    "arccot(u) + arctan(u)",
    "floor(u) - u",
    "arcsin(sin(u)) - u",
    "arctan(tan(u)) - u",
    "exp(ln((u - 40)*(u - 40))/2)/(u - 40)",
    "exp(ln(uu - 2*u + 1)/2)/(u - 1)",
    "exp(ln(uu + p^2 - 2*u*p)/2)/(u - p)",
    "sqrt(uu)*v/(u*sqrt(v)^2)",
    "u*sqrt(1/uu)",
    "sqrt(dd)*sqrt(u)^2/(u*(u - v))",
    "(uu^(1/2) - u)*sin(u)",
)
TRUE = (
    "ln(exp(u)) - u",
    "ln(exp(u)*exp(v)) - u - v",
    "ln(u*v) - ln(u) - ln(v)",
    "ln(u/v) - ln(u) + ln(v)",
    "ln(u^3) - 3*ln(u)",
    "exp(2*ln(u))/u^2",
    "exp(ln(u) + ln(v))/(u*v)",
    "exp(ln(u)/3)^3/u",
    "exp(u)*exp(-u)",
    "exp(u)*exp(p - u)",
    "exp(u)*exp(v)/exp(u + v)",
    "(exp(u) + exp(-u))^2 - (exp(u) - exp(-u))^2",
    "u^(1/3)*u^(2/3)/u",
    "(u^(1/3))^3/u",
    "(u^3)^(1/3)/u",
    "(u*v)^(1/3)/(u^(1/3)*v^(1/3))",
    "uu^(1/3)*uu^(2/3)/uu",
    "p^u*p^(-u)",
    "2^u*2^v/2^(u + v)",
    "sin(u)/sin(u)",
    "exp(ln(u)/2)^2/u",
    "u^(1/2)*u^(3/2)/u^2",
    "sqrt(u)*sqrt(u)/u",
    "exp(ln(uu))/uu",
    "sqrt(u)^2 - u",
    "exp(ln(u)) - u",
    "exp(2*ln(u)) - u^2",
    "u^(3/4)*u^(1/4) - u",
    "sqrt(u/v)*sqrt(v)/sqrt(u)",
    "ln(sqrt(u)) - ln(u)/2",
    "uu^(1/6)/u^(1/3)",
    "sin(u)^2 + cos(u)^2",
    "cosh(u)^2 - sinh(u)^2",
)
_DIGITS = (60, 6000)  # exponentials of thousands may cancel
PLAIN = (
    "exp(-p^2)",
    "sin(p)",
    "abs(p)",
    "max(p, q)",
    "sqrt(1 + p^2)",
    "ln(2 + q^2)",
    "tanh(p)*q",
    "p/(1 + q^2)",
    "p*q",
)


@dataclass(frozen=True)
class OneSided:
    """A hidden system.

    Attributes
    ----------
    system : OdeSystem
    observable : str
        The first hidden variable, in terms of the states.
    size : int
        Of the small system.
    terms : tuple of str
        What was added to the rates of y.
    true : bool
        Whether all of these hold everywhere, so that y is a lumping.
    """

    system: OdeSystem
    observable: str
    size: int
    terms: tuple[str, ...]
    true: bool


def one_sided_system(random: Random, *, true: bool | None = None) -> OneSided:
    """A random system of the kind described above; ``true`` chooses which, and is drawn otherwise."""
    true = random.random() < 0.5 if true is None else true
    m, extra = random.randint(1, 2), random.randint(2, 3)
    n = m + extra
    forwards, backwards = row_additions(n, _drawn_steps(random, n))
    graph = Graph()
    states = [graph.symbol(f"x{i + 1}") for i in range(n)]
    inner = [_form(graph, row, states) for row in backwards]

    def combined(low: int, high: int) -> list[int]:
        while True:
            weights = [random.randint(-2, 2) if low <= i < high else 0 for i in range(n)]
            if any(weights):
                return [sum(w * row[j] for w, row in zip(weights, backwards, strict=True)) for j in range(n)]

    u, v, p, q = combined(m, n), combined(m, n), combined(0, m), combined(0, m)
    while _parallel(u, v):
        v = combined(m, n)
    d = [a - b for a, b in zip(u, v, strict=True)]
    expand = random.random() < 0.7
    named: dict[str, Node] = {
        **{name: _form(graph, row, states) for name, row in (("u", u), ("v", v), ("p", p), ("q", q))},
        "uu": _square(graph, u, states, expand),
        "dd": _square(graph, d, states, expand),
    }
    named["uuvv"] = graph.mul((named["uu"], _square(graph, v, states, expand)))
    kinds = [random.choice(TRUE)] if true else [random.choice(FALSE)]
    kinds += [random.choice(TRUE) for _ in range(random.randint(0, 1))]
    rates: list[Node] = []
    for i in range(m):
        text = f"{random.choice(PLAIN)} + {random.randint(1, 3)}*({random.choice(PLAIN)}) - {random.randint(1, 3)}/4*y"
        for kind in kinds if i == 0 else ():
            text += f" + {random.choice(('1', '2', 'p', '1 + q^2'))}*({kind})"
        if m == 2 and i == 0:
            text += " + z"  # the second variable is needed, too
        rates.append(parse_expression(graph, text, {**named, "y": inner[i], "z": inner[-1 - extra]}))
    for i in range(m, n):
        text = f"{random.randint(-2, 2)}/5*y + {random.randint(-2, 2)}*p/3 + {random.choice(('1', 'sin(v)/4', 'u/8'))}"
        rates.append(parse_expression(graph, text, {**named, "y": inner[i]}))
    rhs = tuple(_form(graph, row, rates) for row in forwards)
    for _ in range(100):  # a model starts where its rates exist
        inside = [random.choice((-3, -2, -1, 1, 2, 3)) for _ in range(n)]
        start = [sum(c * s for c, s in zip(row, inside, strict=True)) for row in forwards]
        system = OdeSystem(
            graph=graph,
            states=tuple(f"x{i + 1}" for i in range(n)),
            initial=tuple(graph.number(value) for value in start),
            rhs=rhs,
            id="one_sided",
        )
        with np.errstate(all="ignore"):
            if np.isfinite(system.rates(0.0, np.array(start, dtype=np.float64))).all():
                break
    observable = " + ".join(f"({c})*x{j + 1}" for j, c in enumerate(backwards[0]) if c)
    return OneSided(system, observable, m, tuple(kinds), true)


def contradicted(case: OneSided, reduction: ReducedSystem, seed: int = 3) -> bool:
    """Whether rates at random points, on all sides, contradict a reduction.

    NumPy's doubles look at 400 points, and mpmath decides at those where they see a difference.
    """
    system = case.system
    generator = np.random.default_rng(seed)
    points = np.exp(generator.uniform(-1.0, 4.5, (400, 1))) * generator.standard_normal((400, system.size))
    with np.errstate(all="ignore"):
        rates = system.rates(0.3, points)
        mine, lumped = reduction.project(rates), reduction.system.rates(0.3, reduction.project(points))
        suspicious = (np.isfinite(mine) & ~(np.abs(mine - lumped) <= 1e-6 * (1 + np.abs(mine)))).any(axis=1)
    return any(
        _certainly_different(system, reduction, x, _DIGITS[-1])
        for x in points[suspicious][:40]
        if _certainly_different(system, reduction, x, _DIGITS[0])
    )


def _certainly_different(system: OdeSystem, reduction: ReducedSystem, point: np.ndarray, digits: int) -> bool:
    with mpmath.workdps(digits):
        x = {name: mpmath.mpf(float(value)) for name, value in zip(system.states, point, strict=True)}
        rates = precise_values(system.graph, system.rhs, x)
        columns = list(zip(reduction.system.states, reduction.matrix.rows, strict=True))
        y = {name: mpmath.fsum(_mpf(v) * x[system.states[j]] for j, v in row.items()) for name, row in columns}
        reduced = precise_values(reduction.system.graph, reduction.system.rhs, y)
        for (_, row), other in zip(columns, reduced, strict=True):
            parts = [rates[j] for j in row]
            if any(part is None for part in parts):
                continue
            mine = mpmath.fsum(_mpf(v) * rates[j] for j, v in row.items())
            if other is None or abs(mine - other) > 1e-20 * (1 + abs(mine)):
                return True
    return False


def _mpf(value: Fraction) -> mpmath.mpf:
    return mpmath.mpf(value.numerator) / value.denominator


def precise_values(graph: Graph, roots: Sequence[Node], symbols: Mapping[str, mpmath.mpf]) -> list[mpmath.mpf | None]:
    """Values by mpmath; ``None`` where there is no real one. Its own code, to be held against the program's."""
    at: dict[Node, mpmath.mpf | None] = {}
    for node in graph.reachable(roots):
        number = graph.number_of(node)
        args = [at[arg] for arg in graph.args(node)]
        if number is not None:
            at[node] = _mpf(number)
        elif graph.op(node) is Op.SYMBOL:
            at[node] = symbols[graph.name(node)]
        elif any(arg is None for arg in args):
            at[node] = None
        else:
            at[node] = _precise(graph, node, args)
    return [at[root] for root in roots]


def _precise(graph: Graph, node: Node, args: Sequence[mpmath.mpf]) -> mpmath.mpf | None:
    op = graph.op(node)
    if op is Op.ADD:
        return mpmath.fsum(args)
    if op is Op.MUL:
        return mpmath.fprod(args)
    if op is Op.DIV:
        return args[0] / args[1] if args[1] else None
    if op is Op.POW:
        if args[0] == 0 and args[1] <= 0:
            return None
        value = mpmath.power(args[0], args[1])
        return value if isinstance(value, mpmath.mpf) else None
    names = {"ln": "log", "abs": "fabs", "arcsin": "asin", "arctan": "atan", "arccot": "acot"}
    name = graph.name(node)
    if name == "ln" and args[0] <= 0:
        return None
    if name in ("min", "max"):
        return (min if name == "min" else max)(args)
    return getattr(mpmath, names.get(name, name))(*args)


def row_additions(n: int, steps: Iterable[tuple[int, int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    """An integer matrix of determinant ±1 and its inverse: (i, j, c) adds c times row j to row i, i ≠ j."""
    forwards = [[int(i == j) for j in range(n)] for i in range(n)]
    backwards = [row[:] for row in forwards]
    for i, j, c in steps:
        # T ← (1 + c·e_ij)·T adds c times row j to row i; T⁻¹ ← T⁻¹·(1 − c·e_ij) takes c times column i from column j
        forwards[i] = [a + c * b for a, b in zip(forwards[i], forwards[j], strict=True)]
        for row in backwards:
            row[j] -= c * row[i]
    return forwards, backwards


def _drawn_steps(random: Random, n: int) -> Iterator[tuple[int, int, int]]:
    for _ in range(random.randint(3, 7)):
        i, j = random.sample(range(n), 2)
        yield i, j, random.choice((-2, -1, 1, 2))


def _form(graph: Graph, row: Sequence[int], nodes: Sequence[Node]) -> Node:
    return graph.add(graph.scaled(c, node) for c, node in zip(row, nodes, strict=True) if c)


def _square(graph: Graph, row: Sequence[int], nodes: Sequence[Node], expand: bool) -> Node:
    if not expand:
        return graph.pow(_form(graph, row, nodes), graph.number(2))
    terms: dict[Node, int] = {}
    for a, x in zip(row, nodes, strict=True):
        for b, y in zip(row, nodes, strict=True):
            term = graph.pow(x, graph.number(2)) if x == y else graph.mul((x, y))
            terms[term] = terms.get(term, 0) + a * b
    return graph.add(graph.scaled(c, term) for term, c in terms.items() if c)


def _parallel(u: Sequence[int], v: Sequence[int]) -> bool:
    return all(a * d == b * c for a, b in zip(u, v, strict=True) for c, d in zip(u, v, strict=True))


def tally(results: Sequence[tuple[OneSided, int | None]]) -> Mapping[str, tuple[int, int]]:
    """For each true term alone: how many systems, and how many of them came out at their size."""
    counts: dict[str, tuple[int, int]] = {}
    for case, size in results:
        if case.true:
            for term in case.terms:
                total, found = counts.get(term, (0, 0))
                counts[term] = total + 1, found + (size is not None and size <= case.size)
    return counts
