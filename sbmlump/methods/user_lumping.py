"""Any lumping a user gives: how far it is from closed, and the reduction by it.

The closure error of a map y = ℓ(x) with a reduced field g is J_ℓ(x)·f(x) − g(ℓ(x)). For a linear map with a right
inverse the field is g(y) = L f(L̄y); the error vanishes identically if and only if L is an exact lumping. Where that
cannot be shown it is sampled along perturbed trajectories. For a map that is not linear no g is given: what is measured
then is how much of J_ℓ·f is no function of ℓ, the part of its gradient that leaves the span of the gradients of ℓ.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from sbmlump.arrays import Array
from sbmlump.dynamics.ensemble import (
    DRAFT,
    STANDARD,
    Ensemble,
    EnsembleSettings,
    ensemble_trajectories,
    error_estimate,
    reference_ensemble,
    refuse_events,
    time_grid,
    time_span_of,
    values,
)
from sbmlump.errors import InputError, Reason, UsageError
from sbmlump.files import read_whole
from sbmlump.linalg.basis import Basis
from sbmlump.linalg.finite_field import Residues, RowSpace
from sbmlump.linalg.polynomial import RationalFunctions
from sbmlump.linalg.rational import Row, echelon, own_column_inverse, rank, right_inverse, solve_rows
from sbmlump.methods.exact.lump import agrees, assemble, claim_of, reduced_system, state_lifts
from sbmlump.methods.method import Clock
from sbmlump.model.domains import PrimeField
from sbmlump.model.evaluate import Evaluator
from sbmlump.model.graph import Node
from sbmlump.model.program import Program
from sbmlump.model.reduced import ExactProof, Observable, ReducedSystem, finite_or_none
from sbmlump.model.system import OdeSystem
from sbmlump.model.text import ExpressionError, parse_expression, parse_number, to_text
from sbmlump.proof.claims import certify_widest
from sbmlump.proof.identity import IdentityTest, failure_bound, run_trials
from sbmlump.proof.values import resting_values

__all__ = [
    "Closure",
    "closure",
    "read_lumping",
    "lump_by_user",
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


# -- lumpings that are expressions -------------------------------------------------------------------
# With a vector field g the error J_ℓ(x)·f(x) − g(ℓ(x)) is an expression, brought to lowest terms where it is rational.
# Without one, ℓ is closed if and only if J_ℓ·f is a function of ℓ, that is, if its gradient lies in the span of the
# gradients of ℓ. For rational maps that is a question of ranks, asked at random points modulo random primes; what is
# not closed, or not rational, is sampled along trajectories.


_NAMED: Final = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ClosureSettings:
    """How a user's lumping is read and measured.

    Attributes
    ----------
    points : int
        Times of a trajectory at which gradients of maps that are not linear are compared.
    rounding : float
        A flow that cancels is rounding below this part of the terms it is made of.
    dependent : float
        Singular values below this part of the largest are 0: gradients of lumps that depend on each other.
    times : int
        Of a trajectory along which closure errors are sampled, and its relative tolerance.
    tolerance : float
    most_lifts : int
        Ways to share a lump that is not exact among its members that are measured.
    most_bytes : int
        Of a file.
    longest_text : int
        Of an error as an expression; longer ones say nothing to a reader.
    """

    points: int = 12
    rounding: float = 1e-6
    dependent: float = 1e-9
    times: int = 40
    tolerance: float = 1e-6
    most_lifts: int = 4
    most_bytes: int = 64 << 20
    longest_text: int = 300


_DEFAULTS: Final = ClosureSettings()


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
    try:
        return system.along_flow(nodes)
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
    fractions = RationalFunctions(graph, bound)
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
            tape = program.run(field, field.draw(generator, n + 1, 1))
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
    return RowSpace(table.shape[1], prime).extend(table)


@dataclass(frozen=True, slots=True)
class GradientError:
    """Share of the gradient of each flow outside the span of those of ℓ: worst (m,), mean, number of points."""

    worst: Array
    mean: float
    points: int


def gradient_error(
    system: OdeSystem, nodes: Sequence[Node], times: Array, runs: Array, settings: ClosureSettings = ClosureSettings()
) -> GradientError:
    """How much of the gradients of J_ℓ·f leaves the span of the gradients of ℓ, at points of runs (r, m, n)."""
    maps = Evaluator(system.graph, nodes, system.states, system.constant_values)
    rates = Evaluator(system.graph, flow_of(system, nodes), system.states, system.constant_values)
    scale = np.maximum(np.abs(runs).max(axis=(0, 1)), 1e-300)
    worst = np.zeros(len(nodes))
    total, count = 0.0, 0
    for run in runs:
        for k in range(0, len(times), max(1, len(times) // settings.points)):
            jacobian = maps.jacobian(float(times[k]), run[k]).toarray() * scale
            moved = rates.jacobian(float(times[k]), run[k]).toarray() * scale
            if not (np.isfinite(jacobian).all() and np.isfinite(moved).all()):
                continue
            _, singular, right = np.linalg.svd(jacobian, full_matrices=False)
            inside = right[singular > settings.dependent * max(float(singular.max(initial=0.0)), 1e-300)]
            left_over = moved - moved @ inside.T @ inside
            speed = np.linalg.norm(system.jacobian(float(times[k]), run[k]).toarray() * scale / scale[:, None])
            # a flow that cancels is rounding, measured by the terms it is made of
            floor = settings.rounding * speed * np.linalg.norm(jacobian, axis=1)
            size = np.maximum(np.linalg.norm(moved, axis=1), np.maximum(floor, 1e-300))
            relative = np.linalg.norm(left_over, axis=1) / size
            worst = np.maximum(worst, relative)
            total += float(relative.mean())
            count += 1
    return GradientError(worst, total / max(1, count), count)


# -- closure and reduction ----------------------------------------------------------------------------


_UNDEFINED: Final = "the reduced right-hand side is undefined for every lift of this lumping"
_NOWHERE: Final = "the lumps, or their rates, are defined at no point of the runs of the model"


@dataclass(frozen=True)
class Closure:
    """The closure error of a lumping.

    Attributes
    ----------
    exact : bool
        Whether it vanishes identically, which was proved.
    linear : bool
    worst, mean : float
        Largest and mean of the error along the runs, relative to the size of the lumped rates; 0 if exact.
    per_lump : mapping of str to float
        Largest one of each lump.
    expressions : mapping of str to str
        L f(x) − g(Lx) as text where it is short and not 0; empty otherwise.
    points : int
        Where it was sampled; 0 if it was proved.
    proof : ExactProof or None
    """

    exact: bool
    linear: bool
    worst: float
    mean: float
    per_lump: Mapping[str, float]
    expressions: Mapping[str, str]
    points: int
    proof: ExactProof | None = None

    def as_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {
            "exact": self.exact,
            "linear": self.linear,
            "worst": finite_or_none(self.worst),
            "mean": finite_or_none(self.mean),
            "per_lump": {name: finite_or_none(value) for name, value in self.per_lump.items()},
            "expressions": dict(self.expressions),
            "points": self.points,
        }


# -- reading -----------------------------------------------------------------------------------------


def _texts(lumping: Sequence[Row] | Mapping[str, str] | str | Path) -> Mapping[str, str] | None:
    """Lumps as expressions, by name; ``None`` if they are given as a matrix."""
    if isinstance(lumping, Mapping):
        return lumping
    return texts_in(_content(lumping)) if isinstance(lumping, (str, Path)) else None


def _content(path: str | Path, most_bytes: int = _DEFAULTS.most_bytes) -> str:
    try:
        return read_whole(path, most_bytes, "CSV").decode("utf-8-sig")
    except InputError as error:
        raise UsageError(Reason("bad-lumping", f"cannot read the lumping {path}: {error}")) from error
    except UnicodeDecodeError as error:
        raise UsageError(Reason("bad-lumping", f"cannot read the lumping {path}: it is no text in UTF-8")) from error


def read_lumping(system: OdeSystem, path: str | Path) -> tuple[dict[int, Fraction], ...]:
    """Rows of a matrix in a file: as CSV, one row a lump, one column a state; or as lines ``name = A + 2*B``.

    A first row of state ids (in any order, some may be absent: their columns are 0) is optional; without it, there is
    one column for each state in the order of the model. Numbers are decimals or fractions such as ``1/3``.

    Raises
    ------
    UsageError
        ``bad-lumping``: no such file, a wrong number of columns, an unknown id, something that is no number, rows that
        depend on each other, a lump that is not linear; each in one sentence with its line.
    """
    text = _content(path)
    named = texts_in(text)
    if named is not None:
        linear = linear_rows(system, expressions_of(system, named))
        if linear is None:
            message = (
                f"{path} holds a lump that is no linear combination of states; a reduced model is made of linear lumps "
                "(sbmlump.closure measures other maps)"
            )
            raise UsageError(Reason("bad-lumping", message))
        return linear
    lines = [(n, [cell.strip() for cell in row]) for n, row in enumerate(csv.reader(text.splitlines()), 1)]
    lines = [(n, row) for n, row in lines if any(row) and not row[0].startswith("#")]
    if not lines:
        raise UsageError(Reason("bad-lumping", f"{path} holds no matrix: one line a lump, one column a state"))
    columns, lines = _columns(system, path, lines)
    rows = [_row(path, number, cells, columns) for number, cells in lines]
    if not rows:
        raise UsageError(Reason("bad-lumping", f"{path} holds a line of ids but no row of numbers"))
    found = rank(rows, system.size)
    if found < len(rows):
        message = (
            f"the {len(rows)} rows of {path} depend on each other: their rank is {found}; remove what is redundant"
        )
        raise UsageError(Reason("bad-lumping", message))
    return tuple(rows)


def _columns(
    system: OdeSystem, path: str | Path, lines: list[tuple[int, list[str]]]
) -> tuple[list[int], list[tuple[int, list[str]]]]:
    number, first = lines[0]
    if any(_number(cell) is not None for cell in first):
        return list(range(system.size)), lines
    index = system.state_index
    unknown = [cell for cell in first if cell not in index]
    if unknown:
        message = (
            f"{path}, line {number}: {unknown[0]!r} is no state of model {system.id}; a lumping is a table (CSV) with "
            "a row for each lump and a column for each state, or lines such as 'total = A + B'"
        )
        raise UsageError(Reason("bad-lumping", message, unknown[0], number))
    if len(set(first)) < len(first):
        raise UsageError(Reason("bad-lumping", f"{path}, line {number}: a state stands there twice", line=number))
    return [index[cell] for cell in first], lines[1:]


def _row(path: str | Path, number: int, cells: Sequence[str], columns: Sequence[int]) -> dict[int, Fraction]:
    if len(cells) != len(columns):
        message = f"{path}, line {number}: {len(cells)} numbers, but the model has {len(columns)} columns (states)"
        raise UsageError(Reason("bad-lumping", message, line=number))
    row: dict[int, Fraction] = {}
    for column, cell in zip(columns, cells, strict=True):
        value = _number(cell)
        if value is None:
            raise UsageError(
                Reason(
                    "bad-lumping",
                    f"{path}, line {number}: {cell!r} is no number, or is 0 or infinite as a double",
                    line=number,
                )
            )
        if value:
            row[column] = value
    if not row:
        raise UsageError(Reason("bad-lumping", f"{path}, line {number}: a lump of nothing (all numbers are 0)"))
    return dict(sorted(row.items()))


def _number(cell: str) -> Fraction | None:
    sign = -1 if cell.startswith("-") else 1
    top, slash, bottom = (cell[1:] if cell[:1] in ("+", "-") else cell).partition("/")
    if not top.strip()[:1].isdigit() and not top.strip().startswith("."):
        return None
    try:
        value = parse_number(top.strip(), doubles=True)
        below = parse_number(bottom.strip(), doubles=True) if slash else Fraction(1)
    except (ExpressionError, ValueError):
        return None
    return sign * value / below if below else None


# -- the reduction -----------------------------------------------------------------------------------


def lump_by_user(
    system: OdeSystem,
    lumping: str | Path | Sequence[Row],
    observables: Sequence[Observable],
    *,
    trial: EnsembleSettings = STANDARD,
    seed: int = 0,
    clock: Clock = time.perf_counter,
    settings: ClosureSettings = ClosureSettings(),
) -> ReducedSystem:
    """Reduce by a matrix that the user gives.

    Parameters
    ----------
    lumping : path or sequence of rows
        See :func:`read_lumping`.
    observables : sequence of Observable
        Each must be a linear combination of the lumps.

    Returns
    -------
    ReducedSystem
        With a proof if the lumping is exact, else with the measured error and the closure error.

    Raises
    ------
    UsageError
        ``bad-lumping``; also if an observable is no combination of the lumps.
    """
    begin = clock()
    rows = read_lumping(system, lumping) if isinstance(lumping, (str, Path)) else tuple(lumping)
    _check_observables(system, rows, observables)
    basis = Basis(tuple(rows), _right_inverse(rows, system.size))
    drafts: list[ReducedSystem] = []
    for lift in state_lifts(system, basis):
        reduced = reduced_system(system, basis, lift, observables)
        if any(system.graph.is_undefined(node) for node in reduced.rhs):
            continue
        if agrees(system, reduced, basis):
            outcome = certify_widest(claim_of(system, reduced, basis, lift, observables, frozenset()), seed)
            if isinstance(outcome, ExactProof):
                made = assemble(system, reduced, basis, lift, observables, outcome, {"lump": clock() - begin}, 0)
                return replace(made, method="lumping")
        drafts.append(assemble(system, reduced, basis, lift, observables, DRAFT, {}, 0))
    if not drafts:
        raise UsageError(Reason("bad-lumping", _UNDEFINED))
    refuse_events(system, "lumping")
    reference = reference_ensemble(system, observables, trial)
    trial = reference.trial
    error = closure(system, rows, trial=trial)
    # how a lump that is not exact is shared out among its members matters: the best of the plain ways is taken
    details = {"closure_error": error.as_json()}
    measured = [
        (error_estimate(draft, "lumping", reference, details), draft) for draft in drafts[: settings.most_lifts]
    ]
    certificate, best = min(measured, key=lambda pair: pair[0].worst_error)
    remark = (
        "the lumping is exact, but what is observed was not shown to be a function of the lumps"
        if error.exact
        else f"the lumping is not exact: its closure error is {error.worst:.3g} of the lumped rates"
    )
    return replace(
        best, method="lumping", certificate=certificate, seconds={"lump": clock() - begin}, remarks=(remark,)
    )


def _check_observables(system: OdeSystem, rows: Sequence[Row], observables: Sequence[Observable]) -> None:
    index = system.state_index
    graph = system.graph
    one_node = graph.number(1)
    reasons: list[Reason] = []
    for one in observables:
        terms = graph.linear_terms(one.expression)
        target: dict[int, Fraction] = {}
        linear = True
        for term, value in terms.items():
            if term == one_node:
                continue
            name = graph.name(term) if system.is_symbol(term) else None
            if name in index:
                target[index[str(name)]] = value
            elif graph.symbols([term]) & set(system.states):
                linear = False
        # an observable that is not linear may still be a function of the lumps: the proof decides
        if linear and target and solve_rows(rows, target) is None:
            message = (
                f"the observable {one.text} is no combination of the lumps; add a row to the lumping that gives it"
            )
            reasons.append(Reason("bad-lumping", message, one.id))
    if reasons:
        raise UsageError(reasons)


def _right_inverse(rows: Sequence[Row], width: int) -> tuple[Row, ...]:
    """A sparse right inverse: a member that only one lump has, else the pivots' inverse."""
    pivots = echelon(rows, range(width - 1, -1, -1))[1]
    if not rows or len(pivots) < len(rows):
        raise UsageError(Reason("bad-lumping", "the rows of the lumping depend on each other, or there are none"))
    inverse = own_column_inverse(rows) or right_inverse(rows, sorted(pivots))
    assert inverse is not None
    return tuple(inverse)


# -- the closure error -------------------------------------------------------------------------------


def closure(
    system: OdeSystem,
    lumping: Sequence[Row] | Mapping[str, str] | str | Path,
    field: Mapping[str, str] | None = None,
    *,
    trial: EnsembleSettings = STANDARD,
    seed: int = 0,
) -> Closure:
    """The closure error of a lumping, linear or not.

    Parameters
    ----------
    lumping : rows, path of a file, or mapping of name to expression
        A file is one for :func:`read_lumping`, or has lines ``name = expression``. Expressions need not be linear;
        where they are, the lumping is treated as a matrix.
    field : mapping of name to expression, optional
        The rates g of the lumps as expressions of the lumps, constants and time; only with expressions as lumps.
        Without, a linear map is held against g(y) = L f(L̄y), another one against any g.
    trial : Trial
        Where it is sampled.

    Raises
    ------
    UsageError
        ``bad-lumping`` if an expression cannot be read or the rows depend on each other.
    """
    texts = _texts(lumping)
    if texts is not None:
        nodes = expressions_of(system, texts)
        if field is not None:
            return _with_field(system, nodes, field, trial)
        linear = linear_rows(system, nodes)
        if linear is None:
            return _nonlinear(system, nodes, trial, seed)
        return _linear(system, linear, tuple(nodes), trial, seed)
    if field is not None:
        raise UsageError(Reason("bad-lumping", "a field needs lumps with names: give the lumping as expressions"))
    assert not isinstance(lumping, Mapping)  # those are expressions
    rows = read_lumping(system, lumping) if isinstance(lumping, (str, Path)) else tuple(lumping)
    names = tuple(f"y{i + 1}" for i in range(len(rows)))
    return _linear(system, rows, names, trial, seed)


def _linear(
    system: OdeSystem, rows: Sequence[Row], names: Sequence[str], trial: EnsembleSettings, seed: int
) -> Closure:
    graph = system.graph
    basis = Basis(tuple(rows), _right_inverse(rows, system.size))
    candidates = [(lift, reduced_system(system, basis, lift, ())) for lift in state_lifts(system, basis)]
    defined = [one for one in candidates if not any(graph.is_undefined(node) for node in one[1].rhs)]
    if not defined:
        raise UsageError(Reason("bad-lumping", _UNDEFINED))
    for lift, reduced in defined:
        if system.events or not agrees(system, reduced, basis):
            continue
        outcome = certify_widest(claim_of(system, reduced, basis, lift, (), frozenset()), seed)
        if isinstance(outcome, ExactProof):
            return Closure(True, True, 0.0, 0.0, dict.fromkeys(names, 0.0), {}, 0, outcome)
    _, reduced = defined[0]
    forward = {
        graph.symbol(state): graph.weighted_sum(row, lambda j: graph.symbol(system.states[j]))
        for state, row in zip(reduced.states, rows, strict=True)
    }
    back = graph.substitute(reduced.rhs, forward)
    lumped = [graph.weighted_sum(row, system.rhs.__getitem__) for row in rows]
    errors = [graph.from_terms(graph.linear_terms(graph.sub(a, b))) for a, b in zip(lumped, back, strict=True)]
    lumps = [forward[graph.symbol(state)] for state in reduced.states]
    return _sampled(system, errors, lumps, lumped, names, trial, linear=True)


def _sample(system: OdeSystem, lumps: Sequence[Node], trial: EnsembleSettings) -> tuple[Array, Array]:
    observables = [Observable(f"lump {i}", node, "") for i, node in enumerate(lumps)]
    until = trial.until if trial.until is not None else time_span_of(system, observables).until
    times = time_grid(until, _DEFAULTS.times)
    ensemble = Ensemble(trial.ensemble, trial.spread)
    runs = ensemble_trajectories(system, times, ensemble, trial.seed, relative=_DEFAULTS.tolerance)[1]
    return times, runs[np.isfinite(runs).all(axis=(1, 2))]


def _nonlinear(system: OdeSystem, nodes: Mapping[str, Node], trial: EnsembleSettings, seed: int) -> Closure:
    shown = None if system.events else closed_by_rank(system, list(nodes.values()), seed)
    if shown is not None and not shown.wrong:
        proof = ExactProof(
            "the rate of every lump is a function of the lumps (its gradient lies in the span of theirs)",
            "identity-test",
            shown.failure_probability,
            shown.primes,
            shown.points,
            valid_for=_values_of_all(system),
        )
        return Closure(True, False, 0.0, 0.0, dict.fromkeys(nodes, 0.0), {}, 0, proof)
    times, runs = _sample(system, list(nodes.values()), trial)
    found = gradient_error(system, list(nodes.values()), times, runs)
    if not found.points:
        raise UsageError(Reason("bad-lumping", _NOWHERE))
    worst = float(found.worst.max(initial=0.0))
    per = dict(zip(nodes, found.worst.tolist(), strict=True))
    # with events it is the error between them
    return Closure(False, False, worst, found.mean, per, {}, found.points)


def _values_of_all(system: OdeSystem) -> dict[str, str]:
    """Values of the constants of the right-hand side: the rates of all states are looked at."""
    return resting_values(system, frozenset(), (), system.rhs)


def _with_field(
    system: OdeSystem, nodes: Mapping[str, Node], field: Mapping[str, str], trial: EnsembleSettings
) -> Closure:
    """J_ℓ·f − g(ℓ) for a given g."""
    errors = field_errors(system, nodes, field)
    linear = linear_rows(system, nodes) is not None
    if is_zero(system, list(errors.values())) and not system.events:
        statement = "J·f − g(ℓ) is 0 in lowest terms"
        proof = ExactProof(statement, "expansion", 0.0, valid_for=_values_of_all(system))
        return Closure(True, linear, 0.0, 0.0, dict.fromkeys(nodes, 0.0), {}, 0, proof)
    lumps = list(nodes.values())
    return _sampled(system, list(errors.values()), lumps, flow_of(system, lumps), tuple(nodes), trial, linear)


def _sampled(
    system: OdeSystem,
    errors: Sequence[Node],
    lumps: Sequence[Node],
    lumped: Sequence[Node],
    names: Sequence[str],
    trial: EnsembleSettings,
    linear: bool,
) -> Closure:
    """An error that does not vanish: as text, and along runs relative to the largest lumped rate."""
    graph = system.graph
    times, runs = _sample(system, lumps, trial)
    found = np.abs(values(system, errors, times, runs))
    rates = np.abs(values(system, lumped, times, runs))
    defined = np.isfinite(rates).all(axis=2)
    if not defined.any():
        raise UsageError(Reason("bad-lumping", _NOWHERE))
    # where the rates of the lumps are defined, an error that is not is none that is known to be small
    found = np.where(np.isfinite(found), found, np.inf)[defined]
    size = rates[defined].max(axis=0)
    relative = found / np.maximum(size, 1e-300)
    texts = {
        name: text
        for name, node in zip(names, errors, strict=True)
        if not is_zero(system, [node]) and len(text := to_text(graph, node)) <= _DEFAULTS.longest_text
    }
    worst = relative.max(axis=0)
    return Closure(
        False,
        linear,
        float(worst.max(initial=0.0)),
        float(relative.mean()),
        dict(zip(names, worst.tolist(), strict=True)),
        texts,
        len(relative),
    )
