"""Lumpings that are expressions: reading them, and the closure error of maps that are not linear.

With a field g the error J_ℓ(x)·f(x) − g(ℓ(x)) is an expression, brought to lowest terms where it is rational. Without
one, ℓ is closed if and only if J_ℓ·f is a function of ℓ, that is, if its gradient lies in the span of the gradients
of ℓ. For rational maps that is a question of ranks, asked at random points modulo random primes; what is not closed,
or not rational, is sampled along runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import flint
import numpy as np
from numpy.typing import NDArray

from sbmlump.classic.rational import Fractions
from sbmlump.errors import Reason, UsageError
from sbmlump.expr.domains import PrimeField
from sbmlump.expr.evaluate import Evaluator
from sbmlump.expr.graph import Node
from sbmlump.expr.program import Program
from sbmlump.expr.text import ExpressionError, parse_expression
from sbmlump.lumping.identity import IdentityTest, failure_bound, run_trials
from sbmlump.structure.exact_linear import rank
from sbmlump.system import OdeSystem

__all__ = [
    "GradientError",
    "closed_by_rank",
    "expressions_of",
    "field_errors",
    "flow_of",
    "gradient_error",
    "is_zero",
    "linear_rows",
    "texts_in",
]

Array = NDArray[np.float64]
Residues = NDArray[np.int64]
_NAMED: Final = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)(.*)", re.DOTALL)
_SAMPLED: Final = 12
_ROUNDING: Final = 1e-6


def texts_in(text: str) -> dict[str, str] | None:
    """Lumps of a file with one ``name = expression`` a line; ``None`` if its first line is none.

    Raises
    ------
    UsageError
        ``bad-lumping`` if a later line is none, or a name stands there twice.
    """
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
    if not lines or not _NAMED.fullmatch(lines[0][1]):
        return None
    found: dict[str, str] = {}
    for number, line in lines:
        match = _NAMED.fullmatch(line)
        if match is None:
            message = f"line {number} of the lumping, {line[:60]!r}, is no 'name = expression'"
            raise UsageError(Reason("bad-lumping", message, line=number))
        if match[1] in found:
            raise UsageError(
                Reason("bad-lumping", f"line {number}: the lump {match[1]} stands there twice", line=number)
            )
        found[match[1]] = match[2].strip()
    return found


def expressions_of(system: OdeSystem, texts: Mapping[str, str]) -> dict[str, Node]:
    """Expressions of the states, by the names of the lumps.

    Raises
    ------
    UsageError
        ``bad-lumping`` if one cannot be read.
    """
    nodes: dict[str, Node] = {}
    for name, text in texts.items():
        try:
            nodes[name] = parse_expression(system.graph, text, system.definitions, doubles=True)
        except ExpressionError as error:
            raise UsageError(Reason("bad-lumping", f"cannot read the lump {name} = {text!r}: {error}", name)) from error
    if not nodes:
        raise UsageError(Reason("bad-lumping", "the lumping holds no lump"))
    return nodes


def linear_rows(system: OdeSystem, nodes: Mapping[str, Node]) -> tuple[dict[int, Fraction], ...] | None:
    """Rows of L over Q; ``None`` if a lump is no combination of states with numbers as weights.

    Raises
    ------
    UsageError
        ``bad-lumping`` if the rows depend on each other.
    """
    index = system.state_index
    rows: list[dict[int, Fraction]] = []
    for node in nodes.values():
        row: dict[int, Fraction] = {}
        for term, value in system.graph.linear_terms(node).items():
            if not system.is_symbol(term) or system.graph.name(term) not in index:
                return None
            row[index[system.graph.name(term)]] = value
        rows.append(row)
    found = rank(rows, system.size)
    if found < len(rows):
        raise UsageError(Reason("bad-lumping", f"the {len(rows)} lumps depend on each other: their rank is {found}"))
    return tuple(rows)


def flow_of(system: OdeSystem, nodes: Sequence[Node]) -> list[Node]:
    """J_ℓ·f: the rates of expressions of the states.

    Raises
    ------
    UsageError
        ``bad-lumping`` if one has no derivative.
    """
    graph = system.graph
    seeds = {graph.symbol(name): rate for name, rate in zip(system.states, system.rhs, strict=True)}
    seeds |= {graph.time(): graph.number(1)}
    try:
        return [graph.derivative(node, seeds) for node in nodes]
    except ValueError as error:
        raise UsageError(Reason("bad-lumping", f"the lumping has no derivative: {error}")) from error


def field_errors(system: OdeSystem, nodes: Mapping[str, Node], field: Mapping[str, str]) -> dict[str, Node]:
    """J_ℓ·f − g(ℓ) for a field g given as expressions of the lumps, constants and time.

    Raises
    ------
    UsageError
        ``bad-lumping`` if a lump has no rate, or a rate cannot be read or mentions a state.
    """
    if set(field) != set(nodes):
        listed = ", ".join(sorted(set(field) ^ set(nodes)))
        raise UsageError(Reason("bad-lumping", f"the field needs one rate for each lump; differing: {listed}"))
    graph = system.graph
    moving = set(system.states)
    known = {name: node for name, node in system.definitions.items() if not graph.symbols([node]) & moving}
    stand_ins = {name: graph.symbol(f"lump {name}") for name in nodes}
    rates: dict[str, Node] = {}
    for name, text in field.items():
        try:
            rates[name] = parse_expression(graph, text, known | stand_ins)
        except ExpressionError as error:
            message = f"cannot read the rate of {name}, {text!r}: {error}; it is made of lumps, constants and time"
            raise UsageError(Reason("bad-lumping", message, name)) from error
    put = {stand_ins[name]: node for name, node in nodes.items()}
    flows = flow_of(system, list(nodes.values()))
    given = graph.substitute([rates[name] for name in nodes], put)
    return {
        name: graph.from_terms(graph.linear_terms(graph.sub(flow, rate)))
        for name, flow, rate in zip(nodes, flows, given, strict=True)
    }


def is_zero(system: OdeSystem, nodes: Sequence[Node]) -> bool:
    """Whether expressions vanish identically with the values of the file: shown in lowest terms."""
    graph = system.graph
    bound = graph.substitute(nodes, system.specialised())
    fractions = Fractions(graph, bound)
    if not fractions.fits:
        return False
    quotients = [fractions.of(node) for node in bound]
    return all(one is not None and one.top == 0 for one in quotients)


def closed_by_rank(system: OdeSystem, nodes: Sequence[Node], seed: int = 0) -> IdentityTest | None:
    """Whether J_ℓ·f is a function of ℓ: for each flow, whether its gradient adds to the rank of those of ℓ.

    Parameters
    ----------
    nodes : sequence of Node
        ℓ, rational in the states.

    Returns
    -------
    Trial or None
        ``wrong`` names the components that are not closed. ``None`` if the map or its flow is not rational.

    Raises
    ------
    UsageError
        ``bad-lumping`` if the gradients of ℓ depend on each other.
    """
    graph = system.graph
    m, n = len(nodes), system.size
    bound = graph.substitute([*nodes, *flow_of(system, nodes)], system.specialised())
    symbols = [graph.symbol(name) for name in system.states]
    if graph.symbols(bound) - set(system.states):
        return None
    program = Program(graph, bound, [*symbols, graph.time()])
    if program.function_names():
        return None
    degree = 2.0 * (m + 1) * (program.degree() + 1)
    independent = False

    def compare(field: PrimeField, generator: np.random.Generator, points: int) -> Residues | None:
        nonlocal independent
        rows: list[list[bool]] = []
        for _ in range(points):
            tape = program.run(field, generator.integers(1, field.prime, (n + 1, 1)))
            if tape.bad.any():
                continue
            gradients = program.pull_back(field, tape, np.eye(2 * m, dtype=np.int64))[:n].T
            if tape.bad.any():
                continue
            base = _rank(gradients[:m], field.prime)
            independent |= base == m
            rows.append([_rank(gradients[[*range(m), m + i]], field.prime) > base for i in range(m)])
        return np.array(rows, dtype=np.int64).T if rows else None

    trial = run_trials(
        compare,
        np.random.default_rng([seed, 0xC105]),
        failure_bound(degree, degree * (program.height() + 64)),
    )
    if trial.primes and not independent:
        raise UsageError(Reason("bad-lumping", f"the {m} lumps depend on each other"))
    return trial if trial.primes else None


def _rank(table: Residues, prime: int) -> int:
    rows, columns = table.shape
    return int(flint.nmod_mat(rows, columns, [int(v) for v in table.ravel()], prime).rank())


@dataclass(frozen=True, slots=True)
class GradientError:
    """Share of the gradient of each flow outside the span of those of ℓ: worst (m,), mean, number of points."""

    worst: Array
    mean: float
    points: int


def gradient_error(system: OdeSystem, nodes: Sequence[Node], times: Array, runs: Array) -> GradientError:
    """How much of the gradients of J_ℓ·f leaves the span of the gradients of ℓ, at points of runs (r, m, n)."""
    maps = Evaluator(system.graph, nodes, system.states, system.constant_values)
    rates = Evaluator(system.graph, flow_of(system, nodes), system.states, system.constant_values)
    scale = np.maximum(np.abs(runs).max(axis=(0, 1)), 1e-300)
    worst = np.zeros(len(nodes))
    total, count = 0.0, 0
    for run in runs:
        for k in range(0, len(times), max(1, len(times) // _SAMPLED)):
            jacobian = maps.jacobian(float(times[k]), run[k]).toarray() * scale
            moved = rates.jacobian(float(times[k]), run[k]).toarray() * scale
            if not (np.isfinite(jacobian).all() and np.isfinite(moved).all()):
                continue
            _, singular, right = np.linalg.svd(jacobian, full_matrices=False)
            inside = right[singular > 1e-9 * max(float(singular.max(initial=0.0)), 1e-300)]
            left_over = moved - moved @ inside.T @ inside
            speed = np.linalg.norm(system.jacobian(float(times[k]), run[k]).toarray() * scale / scale[:, None])
            # a flow that cancels is rounding, measured by the terms it is made of
            floor = _ROUNDING * speed * np.linalg.norm(jacobian, axis=1)
            size = np.maximum(np.linalg.norm(moved, axis=1), np.maximum(floor, 1e-300))
            relative = np.linalg.norm(left_over, axis=1) / size
            worst = np.maximum(worst, relative)
            total += float(relative.mean())
            count += 1
    return GradientError(worst, total / max(1, count), count)
