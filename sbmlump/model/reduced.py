"""Reductions: the map, the certificate, and the reduced system, always together."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from sbmlump.arrays import Array
from sbmlump.errors import Reason, UsageError, did_you_mean, near_matches, some_names
from sbmlump.model.domains import nearest_double
from sbmlump.model.graph import Node
from sbmlump.model.names import is_sid, numbered_ids
from sbmlump.model.system import Assigned, OdeSystem
from sbmlump.model.text import EXPRESSION_FUNCTIONS, ExpressionError, combination, parse_expression

if TYPE_CHECKING:
    from pathlib import Path

    from sbmlump.model.system import SympySystem

__all__ = [
    "AffineLumping",
    "Certificate",
    "Elimination",
    "Embedding",
    "ErrorEstimate",
    "ExactProof",
    "FreshErrors",
    "LinearLumping",
    "Lump",
    "LumpingMatrix",
    "Map",
    "Meaning",
    "Observable",
    "OscillationErrors",
    "Proof",
    "ReducedSystem",
    "TARGETS",
    "finite_or_none",
    "with_observables",
    "starts_of",
    "observable_ids",
    "parse_observables",
]


_MOST_SHOWN: Final = 20  # of lumps, members and values, in a sentence or a table
_MOST_NEAR: Final = 5  # that a message names for something that does not exist
_WRITER: Final = "sbmlump.jobs"
"""The module above this one that knows every format."""
TARGETS: Final = frozenset({"max-error-not-reached", "target-not-reached", "no-reduction"})
"""Codes of reasons why a reduction is not as small, or not as accurate, as was asked for."""


@dataclass(frozen=True, slots=True)
class LumpingMatrix:
    """A sparse exact matrix L over Q, m rows by n states.

    Attributes
    ----------
    states : tuple of str
        Ids of the n columns.
    rows : tuple of mappings from column index to Fraction
        Non-zero entries of each of the m rows.
    """

    states: tuple[str, ...]
    rows: tuple[Mapping[int, Fraction], ...]

    def __repr__(self) -> str:
        """In a line: the rows of a large model fill screens."""
        entries = sum(map(len, self.rows))
        return f"<LumpingMatrix: {len(self.rows)} lumps of {len(self.states)} states, {entries} entries>"

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return len(self.rows), len(self.states)

    def exact(self) -> list[list[Fraction]]:
        """All entries as rows of Fractions (dense, m × n)."""
        n = len(self.states)
        return [[row.get(j, Fraction(0)) for j in range(n)] for row in self.rows]

    def array(self) -> Array:
        """All entries as doubles, shape (m, n); infinite beyond their range."""
        out = np.zeros(self.shape)
        for i, row in enumerate(self.rows):
            for j, value in row.items():
                out[i, j] = nearest_double(value)
        return out

    @property
    def proper(self) -> bool:
        """Whether no state is a member of two lumps."""
        seen: set[int] = set()
        for row in self.rows:
            if not seen.isdisjoint(row):
                return False
            seen.update(row)
        return True

    @property
    def non_negative(self) -> bool:
        """Whether no entry is negative."""
        return all(value >= 0 for row in self.rows for value in row.values())


@dataclass(frozen=True, slots=True)
class Lump:
    """One state of a reduced system: its id and what it is made of (Σ members[id]·id)."""

    id: str
    members: Mapping[str, Fraction]

    @property
    def is_single(self) -> bool:
        """Whether it is one original state under its own id."""
        return self.members == {self.id: Fraction(1)}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a state of a reduced system means in the words of the original model.

    Attributes
    ----------
    kind : str
        ``retained`` (a state of the original), ``sum``, ``difference``, ``multiple`` (of one state), ``block`` (states
        that are equal at all times), ``coordinate`` (of an approximate reduction: no species).
    sentence : str
    label : str or None
        A few words that name the state, where what they say holds of its members and of no other states; of a
        coordinate, what it mostly is.
    """

    kind: Literal["retained", "sum", "difference", "multiple", "block", "coordinate"]
    sentence: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class LinearLumping:
    """y = Lx with an affine lift x = L̄y + c such that L L̄ = I and L c = 0.

    Attributes
    ----------
    matrix : LumpingMatrix
        L, over Q.
    lift : LumpingMatrix
        Columns of L̄ as rows over Q (row i holds the states that lump i lifts to).
    offset : mapping of int to Fraction
        Non-zero entries of c, by column; empty in most cases.
    """

    matrix: LumpingMatrix
    lift: LumpingMatrix
    offset: Mapping[int, Fraction] = field(default_factory=dict)
    kind: str = "linear"


@dataclass(frozen=True, slots=True)
class Elimination(LinearLumping):
    """Some states are kept, others follow from them by expressions that need not be linear.

    Attributes
    ----------
    assigned : tuple of str
        Original states that the reduced system defines (as assigned quantities or constants); the lift takes their
        values from there. The matrix holds the lumps, which are linear in the original states all the same.
    starts : mapping of str to row
        Constants of the reduced system that hold initial values, each as a combination of original states.
    totals : mapping of str to Node
        Constants whose own initial assignments do not tell what they are at all times: what each is in the original, an
        expression of its states, constants and time. Conserved totals, because a later step of a chain dropped states
        that take part (those whose weights are numbers stand among ``starts``, too), and totals that decay.
    """

    kind: str = "elimination"
    assigned: tuple[str, ...] = ()
    starts: Mapping[str, Mapping[str, Fraction]] = field(default_factory=dict)
    totals: Mapping[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Embedding:
    """x = Ry: states of a block have one value, y. Rows of R are blocks of a partition of the states.

    Attributes
    ----------
    matrix : LumpingMatrix
        For each block the unit row of the state that stands for it, so that y = matrix · x on the embedded states.
    lift : LumpingMatrix
        Columns of R as rows (row i holds 1 at every state of block i); matrix · R = I.
    offset : mapping of int to Fraction
        Empty.
    """

    matrix: LumpingMatrix
    lift: LumpingMatrix
    offset: Mapping[int, Fraction] = field(default_factory=dict)
    kind: str = "embedding"


@dataclass(frozen=True, slots=True)
class AffineLumping:
    """y = Lx with the lift x̂ = L̄y + c(x(0)), L L̄ = I and L c = 0 as doubles: an approximate reduction.

    The coefficients are the rationals that the shortest decimal texts of doubles denote.

    Attributes
    ----------
    matrix : LumpingMatrix
        L; the first rows are those of the observables.
    lift : LumpingMatrix
        Columns of L̄ as rows (row i holds the states that lump i lifts to).
    offset : mapping of int to Fraction
        Non-zero entries of c, by column, for the initial values of the file.
    totals : tuple of (id, mapping of int to Fraction)
        Constants of the reduced model that hold conserved totals W x(0): id and row of W.
    decaying : tuple of (id, mapping of int to Fraction)
        Constants that hold the values at time 0 of totals that decay at one rate.
    """

    matrix: LumpingMatrix
    lift: LumpingMatrix
    offset: Mapping[int, Fraction] = field(default_factory=dict)
    totals: tuple[tuple[str, Mapping[int, Fraction]], ...] = ()
    decaying: tuple[tuple[str, Mapping[int, Fraction]], ...] = ()
    kind: str = "affine"


Map = LinearLumping | Embedding | AffineLumping


@dataclass(frozen=True, slots=True)
class ExactProof:
    """What was proved, how, and with which probability the proof is wrong.

    Attributes
    ----------
    statement : str
        In words.
    method : str
        ``expansion`` (polynomial identity over Q, deterministic) or ``identity-test`` (random points modulo random
        primes).
    failure_probability : float
        0 for a deterministic proof; an upper bound otherwise.
    primes : tuple of int
        Primes used.
    heuristic : str or None
        Present where functions were taken as generic, with the domain on which the statement holds.
    valid_for : mapping
        Values of constants the lumping rests on; empty if it holds for all values.
    symbolic : tuple of str
        Constants for all of whose values it holds.
    domain : str or None
        The piece of the state space on which it holds, where that is not everywhere.
    """

    statement: str
    method: str
    failure_probability: float
    primes: tuple[int, ...] = ()
    points: int = 0
    degree: int = 0
    heuristic: str | None = None
    valid_for: Mapping[str, str] = field(default_factory=dict)
    symbolic: tuple[str, ...] = ()
    kind: str = "exact-proof"
    domain: str | None = None

    @property
    def holds_for(self) -> str:
        """``domain`` (on a piece of the state space), ``file-values`` (of some constants), ``all-parameter-values``."""
        if self.domain is not None:
            return "domain"
        return "file-values" if self.valid_for else "all-parameter-values"

    def scope(self, most: int = _MOST_SHOWN) -> str:
        """One sentence: for which values of the constants it holds, the first ``most`` by name."""
        if not self.valid_for:
            return "It holds for all values of the parameters."
        listed = some_names([f"{name} = {value}" for name, value in self.valid_for.items()], most)
        rest = "; the other parameters may have any values" if self.symbolic else ""
        return f"It rests on values of the original model: {listed}{rest}."

    def as_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {
            "kind": self.kind,
            "holds_for": self.holds_for,
            "statement": self.statement,
            "method": self.method,
            "failure_probability": self.failure_probability,
            "primes": list(self.primes),
            "points": self.points,
            "degree": self.degree,
            "heuristic": self.heuristic,
            "valid_for": dict(self.valid_for),
            "symbolic_parameters": list(self.symbolic),
            "domain": self.domain,
        }


#: What ``verify`` returns where it does not return a Refutation.
Proof = ExactProof


@dataclass(frozen=True, slots=True)
class OscillationErrors:
    """Errors of an oscillation told apart: how far its shape is off, and how far its phase drifts.

    Attributes
    ----------
    period : float
        From the initial values of the file.
    shape : float
        Worst relative error over the runs when the time of each run is shifted and stretched as fits best.
    drift : float
        Largest difference in time at the end of a run that this takes, in periods.
    """

    period: float
    shape: float
    drift: float

    def sentence(self) -> str:
        """What was found, for people."""
        return (
            f"What is observed oscillates with a period of {self.period:.3g}: up to a time shift it is off by at most "
            f"{self.shape:.3g}; its phase drifts by up to {self.drift:.2g} of a period."
        )

    def as_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {"period": self.period, "shape": finite_or_none(self.shape), "drift": finite_or_none(self.drift)}


@dataclass(frozen=True, slots=True)
class FreshErrors:
    """Errors from initial values that a reduction was neither made nor chosen from.

    Attributes
    ----------
    initial_values : int
        How many.
    worst, median : float
        Relative errors; infinite where too many diverge.
    above : int
        From how many the error is above the wanted one, diverging ones among them; 0 where no error was wanted.
    diverged : int
        From how many the reduced model does not reach the end time.
    wanted : float or None
    oscillation : OscillationErrors or None
        Beside these errors, which are at equal times, where what is observed oscillates.
    """

    initial_values: int
    worst: float
    median: float
    above: int
    diverged: int
    wanted: float | None = None
    oscillation: OscillationErrors | None = None

    @classmethod
    def of(cls, errors: Array, wanted: float | None) -> FreshErrors:
        """From the largest relative error of each run, (r,)."""
        return cls(
            len(errors),
            float(errors.max(initial=0.0)),
            float(np.median(errors)) if len(errors) else 0.0,
            0 if wanted is None else int((errors > wanted).sum()),
            int((~np.isfinite(errors)).sum()),
            wanted,
        )

    def sentence(self) -> str:
        """What was found, for people."""
        diverge = f"from {self.diverged} it diverges" if self.diverged else "it diverges from none"
        above = "" if self.wanted is None else f", and is off by more than {self.wanted:g} from {self.above}"
        errors = (
            f"From {self.initial_values} fresh initial values {diverge}{above}; the worst relative error is "
            f"{self.worst:.3g}, the median {self.median:.3g}."
        )
        return errors if self.oscillation is None else f"{errors} {self.oscillation.sentence()}"

    def as_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {
            "initial_values": self.initial_values,
            "worst": finite_or_none(self.worst),
            "median": finite_or_none(self.median),
            "above": self.above,
            "diverged": self.diverged,
        }


@dataclass(frozen=True, slots=True)
class ErrorEstimate:
    """How far an approximate reduction is off, as measured: an estimate, not a bound.

    ``fresh`` is there where the reduction was held against initial values that took no part in making or choosing it.
    """

    method: str
    horizon: float
    ensemble: int
    spread: float
    worst_error: float
    median_error: float
    estimate: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "error-estimate"
    fresh: FreshErrors | None = None

    def as_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {
            "kind": self.kind,
            "holds_for": None,  # a measurement says nothing of other values
            "method": self.method,
            "horizon": self.horizon,
            "ensemble": self.ensemble,
            "spread": self.spread,
            "worst_error": self.worst_error,
            "median_error": self.median_error,
            "estimate": self.estimate,
            "fresh": None if self.fresh is None else self.fresh.as_json(),
            **self.details,
        }


Certificate = ExactProof | ErrorEstimate


@dataclass(frozen=True, slots=True)
class Observable:
    """Something the user wants to keep: its id in the reduced model and its expression in the original one."""

    id: str
    expression: Node
    text: str


@dataclass(frozen=True)
class ReducedSystem:
    """A smaller system, the map that leads to it, and the certificate.

    Attributes
    ----------
    original, system : OdeSystem
        Before and after.
    observables : tuple of Observable
        Kept; each id is a state or an assigned quantity of ``system``.
    lumps : tuple of Lump
        One for each state of ``system``, in order.
    map : Map
        The reduction map with its lift.
    certificate : Certificate
        Made by code that did not compute the map.
    method : str
        As on the command line.
    remarks : tuple of str
        What else is to be said of it.
    reasons : tuple of Reason
        Why something was not done that might have been expected (a total that is not constant).
    reducible : bool
        Whether ``system`` is smaller than ``original``.
    """

    original: OdeSystem
    system: OdeSystem
    observables: tuple[Observable, ...]
    lumps: tuple[Lump, ...]
    map: Map
    certificate: Certificate
    method: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()

    def __repr__(self) -> str:
        """In a line."""
        kind = "exact" if isinstance(self.certificate, ExactProof) else "approximate"
        how = kind if self.method == kind else f"{self.method}, {kind}"
        kept = some_names([one.id for one in self.observables], _MOST_SHOWN)
        sizes = f"{self.original.size} → {self.system.size} states"
        return f"<ReducedSystem {self.original.id!r}: {sizes}, {how}, keeps {kept or 'everything'}>"

    @property
    def matrix(self) -> LumpingMatrix:
        """L, m × n over Q."""
        return self.map.matrix

    @property
    def reducible(self) -> bool:
        """Whether fewer states are left."""
        return self.system.size < self.original.size

    @property
    def written(self) -> OdeSystem:
        """What is written: the smaller system; where there is none, the original and what is observed of it."""
        return self.system if self.reducible else with_observables(self.original, self.observables)

    @property
    def shortfall(self) -> tuple[Reason, ...]:
        """Why this is not what was asked for: a size or an error that was not reached."""
        return tuple(reason for reason in self.reasons if reason.code in TARGETS)

    @property
    def vanished(self) -> tuple[str, ...]:
        """Original states that are in no lump and follow from none: they do not influence the observables."""
        # of an approximation, and where the first step solved conservation laws, that cannot be said
        first = self.map.kind == "linear" or (self.map.kind == "elimination" and self.method.startswith("exact+"))
        if not first or not isinstance(self.certificate, ExactProof):
            return ()
        members = {j for row in (*self.matrix.rows, *self.map.lift.rows) for j in row}
        given = set(self.given_by_formulas)
        return tuple(name for j, name in enumerate(self.original.states) if j not in members and name not in given)

    @property
    def given_by_formulas(self) -> tuple[str, ...]:
        """Original states that the reduced model computes from its own by formulas."""
        if not isinstance(self.map, Elimination):
            return ()
        alone = {lump.id for lump in self.lumps if lump.is_single}
        return tuple(name for name in self.map.assigned if name not in alone)

    @property
    def merged(self) -> tuple[str, ...]:
        """Original states that are no longer states of their own but part of a pool."""
        alone = {lump.id for lump in self.lumps if lump.is_single}
        members = {name for lump in self.lumps if not lump.is_single for name in lump.members}
        return tuple(name for name in self.original.states if name in members and name not in alone)

    def project(self, x: ArrayLike) -> Array:
        """y = Lx for one state (n,) or k states (k, n)."""
        return np.asarray(_values_of(x, self.matrix.states) @ self.matrix.array().T)

    def lift(self, y: ArrayLike) -> Array:
        """A state x with Lx = y, for one (m,) or k (k, m) reduced states; not the original trajectory."""
        offset = np.zeros(len(self.matrix.states))
        for column, value in self.map.offset.items():
            offset[column] = nearest_double(value)
        lifted = np.asarray(_values_of(y, self.system.states) @ self.map.lift.array() + offset)
        if isinstance(self.map, Elimination) and self.map.assigned:
            from sbmlump.model.evaluate import Evaluator

            names = self.map.assigned
            nodes = [self.system.definitions[name] for name in names]
            evaluator = Evaluator(self.system.graph, nodes, self.system.states, self.system.constant_values)
            place = self.original.state_index
            lifted[..., [place[name] for name in names]] = evaluator.values(0.0, y)
        return lifted

    def _repr_html_(self) -> str:
        """A table for notebooks: sizes, certificate, and what each lump is made of."""
        from html import escape

        from sbmlump.model.tables import html_table

        certificate = self.certificate
        if isinstance(certificate, ErrorEstimate):
            claim = f"approximate, largest relative error measured {certificate.worst_error:.3g}"
        else:
            claim = f"exact: {certificate.statement}"
        name = self.original.name or self.original.id
        head = f"{name}: {self.original.size} states became {self.system.size} ({self.method})"
        merged_first = sorted(self.lumps, key=lambda lump: lump.is_single)
        start = dict(zip(self.system.states, self.system.initial_state().tolist(), strict=True))
        rows = [
            (
                lump.id,
                "itself" if lump.is_single else combination(lump.members.items(), _MOST_SHOWN),
                start.get(lump.id),
            )
            for lump in merged_first
        ]
        table = html_table("States of the reduced model", ("id", "made of", "value at time 0"), rows) if rows else ""
        if self.vanished:
            names = escape(some_names(self.vanished, _MOST_SHOWN))
            table += f"<p>without influence on what is kept: {names}</p>"
        kept = ", ".join(one.id for one in self.observables)
        return f"<p><b>{escape(head)}</b><br>keeps {escape(kept)}<br>{escape(claim)}</p>{table}"

    def to_pandas(self) -> Any:
        """The lumping matrix as a data frame of pandas: a row for each state of the reduced model, doubles.

        Raises
        ------
        UnsupportedModelError
            Code ``extra-missing`` where pandas is not installed.
        """
        from sbmlump.model.tables import frame_of

        return frame_of(self.matrix.states, self.matrix.array().tolist(), [lump.id for lump in self.lumps])

    def to_sympy(self) -> SympySystem:
        """The reduced system as SymPy expressions; see :meth:`OdeSystem.to_sympy`."""
        return self.system.to_sympy()

    def write(self, path: str | Path, *, groups: bool = False, level: str = "3.2") -> None:
        """Write the reduced model, as SBML if the suffix says nothing else (the whole file appears, or nothing does).

        ``groups`` writes lumps as SBML groups, too; ``level`` is the level and version, ``3.2``, ``3.1`` or ``2.4``.
        """
        # by name and on first use: imports go one way, and a reduction that was sent to another process writes, too
        import_module(_WRITER).write_reduced_model(self, path, groups=groups, level=level)


def _values_of(values: ArrayLike, states: Sequence[str]) -> Array:
    """Values (n,) or (k, n) of some states.

    Raises
    ------
    ValueError
        If there are not as many as states.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape[-1:] != (len(states),):
        names = some_names(states, _MOST_NEAR)
        raise ValueError(f"{len(states)} values are wanted ({names}) in the last dimension; the shape is {array.shape}")
    return array


def with_observables(system: OdeSystem, observables: Iterable[Observable]) -> OdeSystem:
    """The system with assigned quantities for the observables that have no id of it."""
    defined = system.definitions
    new = tuple(Assigned(one.id, one.expression) for one in observables if one.id not in defined)
    return replace(system, assigned=(*system.assigned, *new)) if new else system


def finite_or_none(value: float) -> float | None:
    """The number for JSON, which has no infinity and no NaN."""
    return float(value) if np.isfinite(value) else None


def starts_of(reduction: ReducedSystem) -> dict[str, dict[str, Fraction]]:
    """Constants of a reduced system that hold initial values, as combinations of original states."""
    kind = reduction.map
    if isinstance(kind, Elimination):
        found = {name: dict(row) for name, row in kind.starts.items()}
        states = set(reduction.original.states)
        return found | {c.id: {c.id: Fraction(1)} for c in reduction.system.constants if c.id in states}
    if isinstance(kind, AffineLumping):
        names = reduction.original.states
        return {name: {names[j]: value for j, value in row.items()} for name, row in (*kind.totals, *kind.decaying)}
    return {}


# -- What the user wants to keep -------------------------------------------------------------------


def observable_ids(system: OdeSystem) -> tuple[str, ...]:
    """Ids that can be observed: states, assigned quantities, reactions (their flux)."""
    return (*system.states, *(a.id for a in system.assigned), *(r.id for r in system.reactions))


def parse_observables(system: OdeSystem, texts: str | Sequence[str]) -> tuple[Observable, ...]:
    """Read ``EXPR`` or ``name = EXPR``, each over ids of the model.

    In place of an id alone, the name that only one element has may stand, and ``[S]`` for the concentration of a
    species S.

    Raises
    ------
    UsageError
        With every text that is wrong: codes ``unknown-observable`` (near matches named), ``ambiguous-name``,
        ``bad-observable``, ``name-taken``, ``no-observable``.
    """
    if isinstance(texts, str):
        texts = (texts,)  # its letters are meant by nobody
    if not texts:
        raise UsageError(Reason("no-observable", "nothing is observed: name a quantity to keep with --observe"))
    reasons: list[Reason] = []
    found: list[Observable] = []
    names: set[str] = set()
    split = [_split(text) for text in texts]
    wanted = {name for name, _ in split if name}
    for text, (name, given) in zip(texts, split, strict=True):
        body = _id_meant(system, given)
        if isinstance(body, Reason):
            reasons.append(body)
            continue
        try:
            expression = parse_expression(system.graph, body, system.definitions, doubles=True)
        except ExpressionError as error:
            reasons.append(_explain(system, text, error))
            continue
        if name:
            problem = _name_problem(system, name, names)
            if problem is not None:
                reasons.append(problem)
                continue
        elif body in system.definitions:
            name = body
            if name in names:
                continue  # the same quantity twice is no mistake
        else:
            name = _unnamed(system, names | wanted)
        names.add(name)
        found.append(Observable(name, expression, body))
    if reasons:
        raise UsageError(reasons)
    return tuple(found)


def _id_meant(system: OdeSystem, text: str) -> str | Reason:
    """The id of what is named, by its name or in brackets; any other text as it is."""
    definitions = system.definitions
    if text in definitions:
        return text
    inner = text[1:-1].strip()
    if text.startswith("[") and text.endswith("]") and inner in definitions:
        return _concentration_of(system, text, inner)
    name = inner if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    ids = [id for id in observable_ids(system) if id in system.quantities]
    named = [id for id in ids if system.quantities[id].name == name]
    named = named or [id for id in ids if (system.quantities[id].name or "").casefold() == name.casefold() != ""]
    if not named:
        return text
    if len(named) > 1:
        message = f"{len(named)} elements are called {name!r}; say which by its id: {some_names(named, _MOST_SHOWN)}"
        return Reason("ambiguous-name", message, named[0])
    try:
        parse_expression(system.graph, text, definitions)
    except ExpressionError:
        return named[0]
    message = (
        f"{name!r} is the name of {named[0]} and also a combination of ids; observe {named[0]}, or write the "
        "combination with blanks or parentheses"
    )
    return Reason("ambiguous-name", message, named[0])


def _concentration_of(system: OdeSystem, text: str, id: str) -> str | Reason:
    """What ``[S]`` means where the id S itself is a concentration; as Tellurium and COPASI write it."""
    quantity = system.quantities.get(id)
    if quantity is None or quantity.kind != "species":
        return Reason("bad-observable", f"{text} is no concentration: {id} is not a species; observe {id}", id)
    if quantity.amount:
        size = f"; its concentration is '{id}/{quantity.compartment}'" if quantity.compartment else ""
        return Reason("bad-observable", f"{text}: the id {id} means an amount in this model{size}", id)
    return id


def _explain(system: OdeSystem, text: str, error: ExpressionError) -> Reason:
    if not text.strip():
        return Reason("bad-observable", "an observable is empty: name what to keep, such as --observe A")
    if (other := _no_quantity(system, text.strip(), error.name)) is not None:
        return other
    if error.name is None:
        advice = "write it as 'A', 'A + 2*B' or 'total = A + B'"
        if "," in text and "(" not in text:
            advice = "several observables are several options: --observe A --observe B"
        message = f"cannot read the observable {text!r}: {error} (character {error.position + 1}); {advice}"
        return Reason("bad-observable", message)
    wanted = error.name
    known = observable_ids(system)
    near = near_matches(wanted, known, 4)
    lowered = {name.lower(): name for name in known}
    near += [lowered[wanted.lower()]] if wanted.lower() in lowered and lowered[wanted.lower()] not in near else []
    called: dict[str, list[str]] = {}
    for id in known:
        if id in system.quantities and system.quantities[id].name:
            called.setdefault(str(system.quantities[id].name).casefold(), []).append(id)
    # a word of a formula, or all of what was asked for, may be a name that is not quite right
    words = dict.fromkeys((wanted.casefold(), text.casefold()))
    names = [id for word in words for name in near_matches(word, called, 2, likeness=0.7) for id in called[name]]
    shown = [f"{id} ({system.quantities[id].name})" if id in names else id for id in dict.fromkeys((*names, *near))]
    hint = did_you_mean(shown[:_MOST_NEAR], "'sbmlump inspect' lists what can be observed")
    return Reason("unknown-observable", f"there is no {wanted!r} in model {system.id}; {hint}", wanted)


def _no_quantity(system: OdeSystem, text: str, name: str | None) -> Reason | None:
    """What is asked for where that is a pattern, a function, an event, time, or of a model without dynamics."""
    known = observable_ids(system)
    if re.fullmatch(r"\w*[*?][\w*?]*", text) and not re.fullmatch(r"\w+\*\w+", text):
        matching = fnmatch.filter(known, text)
        found = (
            f"{text} is {some_names(matching, _MOST_NEAR)}" if matching else f"nothing in the model is called {text}"
        )
        message = f"patterns are not read ({found}); write --observe for each quantity, or a sum such as 'A + B'"
        return Reason("bad-observable", message, text)
    if name is None:
        return None
    if re.search(rf"\b{re.escape(name)}\s*\(", text):
        if name in system.definitions:
            message = f"{name!r} is a quantity and takes no arguments; write {name} without what is in parentheses"
            return Reason("bad-observable", message, name)
        near = near_matches(name, sorted(EXPRESSION_FUNCTIONS), likeness=0.75)
        hint = did_you_mean(near, "formulas take + - * / ^, exp, ln, sqrt, min, max …")
        message = f"there is no function {name!r}; {hint}"
        return Reason("bad-observable", message, name)
    event = next((one for one in system.events if one.id == name), None)
    if event is not None:
        targets = some_names([id for id, _ in event.assignments], _MOST_NEAR)
        return Reason("unknown-observable", f"{name!r} is an event; observe what it sets: {targets}", name)
    if name in ("time", "t"):
        message = f"{name!r} is the independent variable, which every simulation has; observe a quantity of the model"
        return Reason("unknown-observable", message, name)
    if not known:
        return Reason("unknown-observable", f"nothing in model {system.id} changes: it has {_NOTHING}", name)
    return None


_NOTHING: Final = "no states, assigned quantities or reactions, so that there is nothing to observe or to reduce"


def _name_problem(system: OdeSystem, name: str, names: set[str]) -> Reason | None:
    if not is_sid(name):
        return Reason("bad-observable", f"{name!r} cannot be the name of an observable: letters, digits, _ only", name)
    if name in system.taken_ids or name in names:
        own = f"; to observe {name} itself write --observe {name}" if name in system.definitions else ""
        message = f"the name {name!r} is taken already; choose another for the observable{own}"
        return Reason("name-taken", message, name)
    return None


def _split(text: str) -> tuple[str, str]:
    name, _, body = text.rpartition("=")
    return name.strip(), body.strip()


def _unnamed(system: OdeSystem, names: set[str]) -> str:
    return next(numbered_ids("observable", names | system.taken_ids))
