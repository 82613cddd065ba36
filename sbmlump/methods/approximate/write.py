"""From a numerical projection to a reduced OdeSystem whose equations are expressions.

Initial values of the original states become constants of the reduced model (``A_at_start``); the reduced states
start at combinations of them, and so do the conserved totals that the lift needs: another start is a change of those
constants.

Two forms of the right-hand side are known. *expanded*: for polynomial fields of degree two, each rate is a polynomial
in reduced states and totals with numbers as coefficients. *lifted*: the original right-hand sides at the lifted point,
whose components are assigned quantities ``lifted_A`` and whose fluxes are shared; parameters keep their names. The
expanded form is taken where it is the shorter one and no parameter has to stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

import numpy as np

from sbmlump.arrays import Array, Indices
from sbmlump.dynamics.ensemble import ReductionProblem, Sample, gradients
from sbmlump.dynamics.vector_field import QuadraticField, QuadraticForm
from sbmlump.linalg.rational import add_multiple, solve_rows
from sbmlump.methods.approximate.quadratic import QuadraticLift
from sbmlump.methods.approximate.subspaces import Affine
from sbmlump.methods.exact.lump import initial_formulas, written_constants
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.names import claim_id, lump_names
from sbmlump.model.reduced import AffineLumping, ErrorEstimate, Lump, LumpingMatrix, ReducedSystem
from sbmlump.model.system import Assigned, Constant, Event, OdeSystem, Quantity, new_values, with_trigger_values

__all__ = ["Course", "Form", "WrittenSystem", "lump_weights", "non_negative_projection", "write_projection"]


Form = Literal["expanded", "lifted"]


@dataclass(frozen=True, slots=True)
class WrittenProjection:
    """When a projected system is written as polynomials.

    Attributes
    ----------
    negligible : float
        Of the largest term of its row: coefficients that rounding leaves behind.
    agreement : float
        Relative difference to which the written system must give the projected rates.
    most_terms : int
        Terms up to which polynomials are expanded.
    """

    negligible: float = 1e-13
    agreement: float = 1e-6
    most_terms: int = 20_000


PROJECTION: Final = WrittenProjection()


@dataclass(frozen=True, slots=True)
class Course:
    """A component of a projection that is a known function of time: a + (τ(0) − a)·exp(μt).

    Attributes
    ----------
    component : int
        Its place in y.
    rate, level : float
        μ and a.
    """

    component: int
    rate: float
    level: float

    def along(self, start: Array, times: Array) -> Array:
        """Its values, (r,) and (m,) to (r, m)."""
        return np.asarray(self.level + (start[:, None] - self.level) * np.exp(self.rate * times))


@dataclass(frozen=True, slots=True)
class WrittenSystem:
    """A reduced system without its certificate yet, and which form its equations have.

    Attributes
    ----------
    system : OdeSystem
    map : AffineLumping
    lumps : tuple of Lump
    form : Form
    starts : mapping of str to str
        For each original state the constant that holds its initial value.
    courses : tuple of Course
        Components of the projection that are functions of time here, no states.
    """

    system: OdeSystem
    map: AffineLumping
    lumps: tuple[Lump, ...]
    form: Form
    starts: Mapping[str, str]
    courses: tuple[Course, ...] = ()

    @property
    def states(self) -> list[int]:
        """Components of the projection that are states."""
        known = {one.component for one in self.courses}
        return [i for i in range(self.system.size + len(known)) if i not in known]

    def completed(self, states: Array, starts: Array, times: Array) -> Array:
        """All components from those that are states, (r, m, k) to (r, m, k + d), by the starts of all, (r, k + d)."""
        out = np.empty((*states.shape[:2], starts.shape[1]))
        out[:, :, self.states] = states
        for one in self.courses:
            out[:, :, one.component] = one.along(starts[:, one.component], times)
        return out

    def reduction(self, problem: ReductionProblem, certificate: ErrorEstimate, method: str) -> ReducedSystem:
        """With its certificate."""
        return ReducedSystem(
            problem.system,
            self.system,
            problem.observables,
            self.lumps,
            self.map,
            certificate,
            method,
            remarks=problem.remarks,
        )


def write_projection(
    problem: ReductionProblem, projection: Affine, totals: Array, scale: Array, *, keep_parameters: bool = False
) -> WrittenSystem:
    """Write ẏ = L f(x̂) as expressions, x̂ = L̄y + c, or with products of states and totals where the lift has such.

    Parameters
    ----------
    problem : Problem
    projection : Affine
    totals : array (c, n)
        W, acting on x / scale.
    scale : array (n,)
    keep_parameters : bool
        Keep the constants of the model as symbols (the lifted form).
    """
    return _Writer(problem, projection, totals / scale, scale, keep_parameters).written()


class _Writer:
    def __init__(
        self, problem: ReductionProblem, one: Affine, totals: Array, scale: Array, keep_parameters: bool
    ) -> None:
        self.problem, self.one = problem, one
        self.graph: Graph = problem.system.graph
        self.keep_parameters = keep_parameters
        self.k, self.n = one.matrix.shape
        p = len(problem.pinned)
        reduced_scale = np.abs(one.matrix) @ scale
        self.matrix = _cleaned(one.matrix, scale)
        self.lift = _cleaned(one.lift, reduced_scale)
        width = 1 + len(totals)
        total_scale = np.abs(totals) @ scale
        self.offset = _cleaned(one.offset[:, :width], np.concatenate([[1.0], total_scale]))
        self.products, self.curved = _products(one, np.concatenate([reduced_scale, total_scale]))
        used = np.abs(self.offset[:, 1:]).max(axis=0, initial=0.0) > 0 if self.n else np.zeros(0, dtype=np.bool_)
        used[[right - self.k for _, right in self.products if right >= self.k]] = True
        self.used_totals = np.flatnonzero(used)
        self.total_rows = [_fractions(_cleaned(totals[i : i + 1], scale)[0]) for i in self.used_totals]
        self.rows: list[dict[int, Fraction]] = [dict(row) for row in problem.pinned]
        self.rows += [_fractions(row) for row in self.matrix[p:]]
        self._name()

    def _name(self) -> None:
        problem = self.problem
        system = problem.system
        taken = {*system.taken_ids, *(o.id for o in problem.observables)}
        named = [{problem.kept[j]: v for j, v in row.items()} for row in problem.pinned]
        names = list(lump_names(system, named, {o.id for o in problem.observables}))
        taken |= set(names)
        names += [claim_id(f"lump_{i + 1}", taken) for i in range(self.k - len(names))]
        self.names = tuple(names)
        self.total_names = tuple(claim_id(f"total_{i + 1}", taken) for i in range(len(self.used_totals)))
        members = sorted({j for row in (*self.rows, *self.total_rows) for j in row})
        self.start_names = {j: claim_id(f"{problem.names[j]}_at_start", taken) for j in members}
        self.lifted_names = {j: claim_id(f"lifted_{problem.names[j]}", taken) for j in range(self.n)}
        self._taken = taken

    # -- pieces --------------------------------------------------------------------------------------

    def written(self) -> WrittenSystem:
        graph, problem = self.graph, self.problem
        system = problem.system
        y = [graph.symbol(name) for name in self.names]
        w = [graph.number(1), *(graph.symbol(name) for name in self.total_names)]
        exact = self._exact_lift()
        lifted = [self._lifted(j, y, w, exact) for j in range(self.n)]
        mapping = {graph.symbol(problem.names[j]): lifted[j] for j in range(self.n)}
        rhs, assigned, form = self._rates(y, w, mapping, lifted)
        observed = self._observed(y, mapping)
        assigned = [*assigned, *observed]
        events = tuple(self._event(one.event, mapping, y) for one in problem.events)
        if form == "expanded" and any(one.event.assignments for one in problem.events):
            needed = graph.symbols([node for event in events for _, node in event.assignments])
            assigned = [a for a in assigned if a.id not in needed or a.id not in self.lifted_names.values()]
        constants = self._constants({*self.names, *(a.id for a in assigned)})
        start = [self._combination(row) for row in self.rows]
        reduced = OdeSystem(
            graph,
            self.names,
            tuple(start),
            tuple(rhs),
            constants,
            tuple(assigned),
            events=events,
            id=system.id,
            name=system.name,
            quantities=self._quantities(constants, assigned),
            origin=system.origin,
        )
        starts = {self.problem.names[j]: name for j, name in self.start_names.items()}
        return WrittenSystem(reduced, self._map(), self._lumps(), form, starts)

    def _exact_lift(self) -> dict[int, int]:
        """States that are pinned by themselves: column to row."""
        return {
            next(iter(row)): i
            for i, row in enumerate(self.problem.pinned)
            if len(row) == 1 and next(iter(row.values())) == 1
        }

    def _lifted(self, j: int, y: Sequence[Node], w: Sequence[Node], exact: Mapping[int, int]) -> Node:
        graph = self.graph
        if j in exact:
            return y[exact[j]]
        terms = [graph.mul((graph.decimal(v), y[i])) for i, v in enumerate(self.lift[j].tolist()) if v]
        if self.offset[j, 0]:
            terms.append(graph.decimal(float(self.offset[j, 0])))
        for place, column in enumerate(self.used_totals.tolist()):
            value = float(self.offset[j, 1 + column])
            if value:
                terms.append(graph.mul((graph.decimal(value), w[1 + place])))
        for value, product in zip(self.curved[j].tolist(), self._product_nodes(y, w), strict=True):
            if value:
                terms.append(graph.mul((graph.decimal(value), product)))
        return graph.add(terms)

    def _product_nodes(self, y: Sequence[Node], w: Sequence[Node]) -> list[Node]:
        """Products of reduced states, and of reduced states and totals."""
        totals = {self.k + column: w[1 + place] for place, column in enumerate(self.used_totals.tolist())}
        factors = dict(enumerate(y)) | totals
        return [self.graph.mul((factors[left], factors[right])) for left, right in self.products]

    def _combination(self, row: Mapping[int, Fraction]) -> Node:
        return self.graph.weighted_sum(dict(sorted(row.items())), lambda j: self.graph.symbol(self.start_names[j]))

    def _constants(self, taken: set[str]) -> tuple[Constant, ...]:
        system, problem = self.problem.system, self.problem
        graph = self.graph
        kept = [c for c in system.constants if c.id not in taken]
        found = list(written_constants(system, {}, {}, frozenset(), kept))
        start = initial_formulas(system)
        for j, name in self.start_names.items():
            node = start[problem.kept[j]]
            found.append(Constant(name, node, computed=graph.number_of(node) is None))
        for name, row in zip(self.total_names, self.total_rows, strict=True):
            found.append(Constant(name, self._combination(row), computed=True))
        return tuple(found)

    def _observed(self, y: Sequence[Node], mapping: Mapping[Node, Node]) -> list[Assigned]:
        """Assignment rules of observables that are no states; affine ones exactly over the pinned rows."""
        graph, problem = self.graph, self.problem
        place = {graph.symbol(name): j for j, name in enumerate(problem.names)}
        one = graph.number(1)
        found = []
        for observable in problem.observables:
            if observable.id in self.names:
                continue
            bound = graph.substitute([observable.expression], problem.system.specialised())[0]
            terms = graph.linear_terms(bound)
            weights = None
            if all(term in place or term == one for term in terms):
                row = {place[term]: v for term, v in terms.items() if term != one}
                weights = solve_rows(problem.pinned, row)
            if weights is None:
                node = graph.substitute([observable.expression], mapping)[0]
            else:
                parts = [graph.scaled(v, y[i]) for i, v in enumerate(weights) if v]
                node = graph.add([*parts, graph.number(terms.get(one, Fraction(0)))])
            found.append(Assigned(observable.id, node))
        return found

    def _event(self, event: Event, mapping: Mapping[Node, Node], y: Sequence[Node]) -> Event:
        """y ← y + L(R(x̂) − x̂), written for the components that change."""
        graph, problem = self.graph, self.problem
        new = new_values(event)
        assignments: list[tuple[str, Node]] = []
        for name, symbol, row in zip(self.names, y, self.rows, strict=True):
            parts = []
            for j, value in row.items():
                if problem.names[j] in new:
                    old = graph.symbol(problem.names[j])
                    parts.append(graph.scaled(value, graph.sub(new[problem.names[j]], old)))
            if parts:
                moved = graph.substitute([graph.add(parts)], mapping)[0]
                total = graph.add((symbol, moved))
                assignments.append((name, graph.from_terms(graph.linear_terms(total))))

        values = [value for _, value in assignments]
        moved_event = event.carried(lambda node: graph.substitute([node], mapping)[0], assignments)
        return replace(moved_event, use_trigger_values=with_trigger_values(problem.system, event, values))

    # -- rates ---------------------------------------------------------------------------------------

    def _rates(
        self, y: Sequence[Node], w: Sequence[Node], mapping: Mapping[Node, Node], lifted: Sequence[Node]
    ) -> tuple[list[Node], list[Assigned], Form]:
        graph, problem = self.graph, self.problem
        size = self.k + len(w)
        terms = self.k * size * (size + 1) // 2
        if not self.keep_parameters and not self.products and terms <= min(PROJECTION.most_terms, self._lifted_terms()):
            field = problem.vector_field()
            form = field.form if isinstance(field, QuadraticField) else None
            if form is not None:
                expanded = self._expanded(form, y, w)
                if self._agrees(expanded, y):
                    return expanded, [], "expanded"
        rhs, fluxes = self._through_lift(mapping)
        needed = graph.reachable(rhs)
        inside = set(needed)
        assigned = [
            Assigned(self.lifted_names[j], node)
            for j, node in enumerate(lifted)
            if node in inside and graph.op(node) is Op.ADD
        ]
        distinct = {a.value: a for a in reversed(assigned)}
        return rhs, [*reversed(distinct.values()), *fluxes], "lifted"

    def _lifted_terms(self) -> int:
        """About how many terms the lifted form has."""
        graph = self.graph
        points = sum(int(np.count_nonzero(table)) for table in (self.lift, self.offset, self.curved))
        if points > PROJECTION.most_terms:
            return points
        fluxes = {term for root in self.problem.rhs() for term in graph.linear_terms(root)}
        return int(points + self.k * len(fluxes))

    def _through_lift(self, mapping: Mapping[Node, Node]) -> tuple[list[Node], list[Assigned]]:
        """Σ over distinct fluxes of (L·coefficients)·flux(x̂); fluxes that several rates use get an id."""
        graph, problem = self.graph, self.problem
        place: dict[Node, int] = {}
        entries: list[tuple[int, int, float]] = []
        exact: list[dict[Node, Fraction]] = [graph.linear_terms(root) for root in problem.rhs()]
        for j, terms in enumerate(exact):
            entries += [(j, place.setdefault(term, len(place)), float(c)) for term, c in terms.items()]
        data = np.array([c for _, _, c in entries], dtype=np.float64)
        rows, columns = [j for j, _, _ in entries], [column for _, column, _ in entries]
        products = (self.matrix[:, rows] * data).T  # of each entry, in each rate
        totals, sizes = np.zeros((2, len(place), self.k))
        np.add.at(totals, columns, products)
        np.add.at(sizes, columns, np.abs(products))
        weights = _without_cancelled(totals.T, sizes.T)
        fluxes = list(place)
        images = graph.substitute(fluxes, mapping)
        pinned = len(problem.pinned)
        rates: list[Node] = []
        for i in range(self.k):
            if i < pinned:  # exactly what the model says
                total: dict[Node, Fraction] = {}
                for j, value in self.rows[i].items():
                    add_multiple(total, exact[j], value)
                parts = [graph.scaled(v, images[place[term]]) for term, v in total.items() if v]
            else:
                used = np.flatnonzero(weights[i]).tolist()
                parts = [graph.mul((graph.decimal(float(weights[i, c])), images[c])) for c in used]
            rates.append(graph.add(parts))
        named = []
        if self.k > 1:
            count = 0
            for node in dict.fromkeys(images):
                core = _core(graph, node)
                if graph.op(core) in (Op.MUL, Op.DIV, Op.POW, Op.CALL, Op.PIECEWISE):
                    count += 1
                    named.append(Assigned(claim_id(f"flux_{count}", self._taken), core))
        inside = set(graph.reachable(rates))
        unique = {a.value: a for a in reversed(named) if a.value in inside}
        return rates, list(reversed(unique.values()))

    def _expanded(self, form: QuadraticForm, y: Sequence[Node], w: Sequence[Node]) -> list[Node]:
        """Coefficients of 1, v and v_i v_j for v = (y, totals)."""
        columns = np.concatenate([self.lift, self.offset[:, :1], self.offset[:, 1:][:, self.used_totals]], axis=1)
        symbols = [*y, *w]
        graph = self.graph
        one = self.k  # the column of the constant 1
        linear = self.matrix @ (form.linear @ columns)
        linear[:, one] += self.matrix @ form.constant
        lq = self.matrix @ form.products
        square = np.einsum("kp,pi,pj->kij", lq, columns[form.left], columns[form.right], optimize=True)
        square = square + square.transpose(0, 2, 1)
        terms = np.einsum(
            "kp,pi,pj->kij",
            np.abs(self.matrix) @ abs(form.products),
            np.abs(columns[form.left]),
            np.abs(columns[form.right]),
            optimize=True,
        )
        terms = terms + terms.transpose(0, 2, 1)
        straight = np.abs(self.matrix) @ (abs(form.linear) @ np.abs(columns))
        rates = []
        for i in range(self.k):
            whole, weight = np.triu(square[i]), np.triu(terms[i])
            whole[np.diag_indices(len(whole))] /= 2
            for table, line in ((whole, linear[i]), (weight, straight[i])):
                table[: one + 1, one] += line[: one + 1]
                table[one, one + 1 :] += line[one + 1 :]
            parts = [
                graph.mul((graph.decimal(float(whole[a, b])), symbols[a], symbols[b]))
                for a, b in zip(*np.nonzero(np.abs(whole) > PROJECTION.negligible * weight), strict=True)
            ]
            rates.append(graph.add(parts))
        return rates

    def _agrees(self, rates: Sequence[Node], y: Sequence[Node]) -> bool:
        """Whether the expanded form gives the same numbers as the lifted one near the start."""
        from sbmlump.model.evaluate import Evaluator

        problem, graph = self.problem, self.graph
        rng = np.random.default_rng(3)
        start = self.matrix @ problem.start
        points = start + 0.3 * rng.uniform(-1, 1, (6, self.k)) * np.maximum(np.abs(start), 0.1)
        values = {
            name: graph.decimal(sum(float(v) * float(problem.start[j]) for j, v in row.items()))
            for name, row in zip(self.total_names, self.total_rows, strict=True)
        }
        got = Evaluator(graph, rates, self.names, values).values(0.0, points)
        constants = np.array([1.0, *(sum(float(v) * problem.start[j] for j, v in r.items()) for r in self.total_rows)])
        used = np.concatenate([self.offset[:, :1], self.offset[:, 1:][:, self.used_totals]], axis=1)
        x = points @ self.lift.T + used @ constants
        full = problem.vector_field().rates(x, np.zeros(len(x), dtype=np.int64))
        wanted = full @ self.matrix.T
        weight = np.abs(full) @ np.abs(self.matrix.T)
        return bool((np.abs(got - wanted) <= PROJECTION.agreement * np.maximum(weight.max(axis=0), 1e-300)).all())

    # -- record --------------------------------------------------------------------------------------

    def _map(self) -> AffineLumping:
        problem = self.problem
        kept = problem.kept
        states = problem.system.states
        rows = tuple({kept[j]: v for j, v in row.items()} for row in self.rows)
        lift_rows = tuple({kept[j]: v for j, v in _fractions(self.lift[:, i]).items()} for i in range(self.k))
        totals = tuple(
            (name, {kept[j]: v for j, v in row.items()})
            for name, row in zip(self.total_names, self.total_rows, strict=True)
        )
        values = {name: sum(float(v) * problem.start[kept.index(j)] for j, v in row.items()) for name, row in totals}
        offset: dict[int, Fraction] = {}
        for j in range(self.n):
            row = {"": float(self.offset[j, 0])}
            row.update(
                (name, float(self.offset[j, 1 + c]))
                for name, c in zip(self.total_names, self.used_totals.tolist(), strict=True)
            )
            row = {key: v for key, v in row.items() if v}
            if row:
                at_start = sum(v * (values[key] if key else 1.0) for key, v in row.items())
                offset[kept[j]] = Fraction(repr(float(at_start)))
        return AffineLumping(LumpingMatrix(states, rows), LumpingMatrix(states, lift_rows), offset, totals)

    def _lumps(self) -> tuple[Lump, ...]:
        names = self.problem.names
        return tuple(
            Lump(name, {names[j]: v for j, v in sorted(row.items())})
            for name, row in zip(self.names, self.rows, strict=True)
        )

    def _quantities(self, constants: Sequence[Constant], assigned: Sequence[Assigned]) -> dict[str, Quantity]:
        known = self.problem.system.quantities
        ids = [*self.names, *(c.id for c in constants), *(a.id for a in assigned)]
        kept = self.problem.system.quantities_of(ids)
        for j, name in self.start_names.items():
            original = known.get(self.problem.names[j])
            text = f"initial value of {self.problem.names[j]}"
            units = original.units if original is not None and original.kind != "species" else None
            kept[name] = Quantity(name, "parameter", name=text, units=units, written_constant=True)
        return kept


def _products(one: Affine, sizes: Array) -> tuple[list[tuple[int, int]], Array]:
    """The products that a lift needs and their columns; ``sizes`` are those of the reduced states and the totals."""
    if not isinstance(one, QuadraticLift) or not one.products:
        return [], np.zeros((len(one.lift), 0))
    left, right = one.factors()
    columns = one.columns() * (sizes[left] * sizes[right])
    # beside the whole lift: what is rounding there is so whatever the other products are
    most = (np.abs(one.lift) * sizes[: one.size]).max(axis=1, keepdims=True, initial=0.0)
    least = PROJECTION.negligible * np.maximum(most, np.abs(columns).max(axis=1, keepdims=True))
    table = np.where(np.abs(columns) > least, one.columns(), 0.0)
    kept = np.flatnonzero(np.abs(table).max(axis=0) > 0).tolist()
    return [one.products[i] for i in kept], table[:, kept]


def _core(graph: Graph, node: Node) -> Node:
    """c·x without the number c."""
    if graph.op(node) is Op.MUL and graph.number_of(graph.args(node)[0]) is not None:
        return graph.args(node)[1]
    return node


def _cleaned(table: Array, weights: Array) -> Array:
    """The table without entries that are rounding errors beside the largest of their row (columns weighed)."""
    size = np.abs(table) * weights
    least = PROJECTION.negligible * size.max(axis=1, keepdims=True, initial=0.0)
    return np.where(size > least, table, 0.0)


def _without_cancelled(table: Array, terms: Array) -> Array:
    """The table without entries whose terms cancel to rounding errors."""
    return np.asarray(np.where(np.abs(table) > PROJECTION.negligible * terms, table, 0.0))


def _fractions(row: Array) -> dict[int, Fraction]:
    return {j: Fraction(repr(v)) for j, v in enumerate(np.asarray(row).tolist()) if v}


# -- Disjoint lumps with non-negative weights ------------------------------------------------------

# Disjoint lumps with non-negative weights: the lifted state of such a reduction cannot become negative.
#
# Each state belongs to at most one lump and is lifted to a fixed share of it. A reduced rate at y_i = 0 is Σ
# l_ij f_j at
# a point where all members of lump i are zero, and there no member of a model of non-negative quantities can
# fall: so y_i
# stays non-negative, and so do the shares. The price is in the error: directions that mix signs are not available.
#
# Lumps are found by alternating least squares on the training runs, in units of each state's scale: given the courses
# of the lumps each state goes to the one that it follows best (by a non-negative factor), weighed by how much the
# observables depend on it; given the members a course is their best non-negative combination.
#
# References
# ----------
# Lee, Seung, Nature 401 (1999), doi 10.1038/44565 (non-negative factorisation); here with disjoint supports.


_ROUNDS: Final = 60
_STARTS: Final = 6
_RUNS: Final = 3


def non_negative_projection(
    problem: ReductionProblem, sample: Sample, size: int, seed: int, weight: Array, constants: int
) -> Affine | None:
    """The projection with ``size`` states, or ``None`` if the observables leave no room.

    Observables must be non-negative combinations of disjoint states; each is a lump. Where one is a sum, its members
    share it.

    Parameters
    ----------
    problem : ReductionProblem
    sample : Sample
    size, seed : int
    weight : array (n,)
        How much each state matters, by :func:`lump_weights`.
    constants : int
        Of a run: columns of the offset, all zero.
    """
    c = problem.pinned_array()
    p, n = c.shape
    if size < p or size > n or (c < 0).any() or ((c > 0).sum(axis=0) > 1).any():
        return None
    s = sample.scale
    x = (sample.states / s).transpose(2, 0, 1).reshape(n, -1)
    fixed = np.full(n, -1)
    for i in range(p):
        fixed[c[i] > 0] = i
    rest = np.flatnonzero(fixed < 0)
    best: tuple[float, Indices] | None = None
    count = min(size - p, len(rest))
    for start in range(_STARTS if count else 1):
        rng = np.random.default_rng([seed, size, start, 0x99])
        owner = fixed.copy()
        if count:
            owner[rest] = p + _clusters(x[rest], weight[rest], count, rng)
        cost = _cost(x, weight, owner, size, c * s)
        if best is None or cost < best[0]:
            best = (cost, owner)
    assert best is not None
    return _projection(x, best[1], p + count, c, s, constants)


def lump_weights(problem: ReductionProblem, sample: Sample) -> Array:
    """How much a relative change of each state moves the observables, largest over a few runs, above a floor."""
    adjoint, _ = gradients(sample, problem.pinned_array(), min(_RUNS, len(sample.states)))
    moved = np.abs(adjoint).max(axis=(0, 1, 2, 3)) * sample.scale
    return np.asarray(np.maximum(moved / max(float(moved.max(initial=0.0)), 1e-300), 1e-3))


def _clusters(x: Array, weight: Array, count: int, rng: np.random.Generator) -> Indices:
    """Alternating least squares; an empty lump takes the worst explained state of those that are not alone."""
    size = np.linalg.norm(x, axis=1)
    unit = x / np.where(size > 0, size, 1.0)[:, None]
    courses = unit[rng.choice(len(x), count, replace=False, p=weight / weight.sum())]
    owner = np.zeros(len(x), dtype=np.int64)
    for _ in range(_ROUNDS):
        fit = np.maximum(unit @ courses.T, 0.0)
        new = fit.argmax(axis=1)
        missed = weight * size * np.sqrt(np.maximum(1 - fit.max(axis=1) ** 2, 0.0))
        for i in range(count):
            members = np.bincount(new, minlength=count)
            if not members[i]:
                new[np.where(members[new] > 1, missed, -np.inf).argmax()] = i
        if (new == owner).all():
            break
        owner = new
        for i in range(count):
            course = (weight[owner == i, None] * x[owner == i]).sum(axis=0)
            norm = np.linalg.norm(course)
            courses[i] = course / norm if norm > 0 else unit[owner == i][0]
    return owner


def _cost(x: Array, weight: Array, owner: Indices, size: int, c: Array) -> float:
    total = 0.0
    for i in range(size):
        mine = owner == i
        if not mine.any():
            continue
        course = (c[i, mine] if i < len(c) else weight[mine]) @ x[mine]
        energy = float(course @ course)
        share = np.maximum(x[mine] @ course / energy, 0.0) if energy > 0 else np.zeros(int(mine.sum()))
        total += float((weight[mine, None] ** 2 * (x[mine] - share[:, None] * course) ** 2).sum())
    return total


def _projection(x: Array, owner: Indices, size: int, c: Array, s: Array, width: int) -> Affine:
    """L with one weight vector a lump, L̄ with shares; scaled so that LL̄ = I."""
    n = len(owner)
    matrix, lift = np.zeros((size, n)), np.zeros((n, size))
    for i in range(size):
        mine = np.flatnonzero(owner == i)
        row = c[i, mine] * s[mine] if i < len(c) else np.ones(len(mine)) / max(len(mine), 1)
        course = row @ x[mine]
        energy = float(course @ course)
        share = np.maximum(x[mine] @ course / energy, 0.0) if energy > 0 else np.ones(len(mine))
        total = float(row @ share)
        share = share / total if total > 0 else np.ones(len(mine)) / max(float(row.sum()), 1e-300)
        matrix[i, mine] = row / s[mine]
        lift[mine, i] = share * s[mine]
    return Affine(matrix, lift, np.zeros((n, width)), f"non-negative, {size} disjoint lumps")
