"""From two files: the proof that one is a reduction of the other, and the reduction as a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from sbmlump.errors import Reason, UsageError
from sbmlump.formats.load import read_model
from sbmlump.linalg.rational import add_multiple, right_inverse, without_zeros
from sbmlump.model.graph import Node
from sbmlump.model.names import clock_id
from sbmlump.model.reduced import (
    AffineLumping,
    Elimination,
    Embedding,
    ErrorEstimate,
    ExactProof,
    LinearLumping,
    Lump,
    LumpingMatrix,
    Map,
    Observable,
    ReducedSystem,
    parse_observables,
)
from sbmlump.model.system import Constant, OdeSystem, event_expressions
from sbmlump.model.text import ExpressionError, parse_expression
from sbmlump.options import fast_reactions_as
from sbmlump.proof.claims import (
    Claim,
    CopiedStates,
    EliminatedStates,
    LumpedStates,
    NamedRow,
    Refutation,
    certify,
    certify_widest,
    proof_of,
    symbolic_but,
)
from sbmlump.proof.values import ValuePair, ValueTable, compare_values

if TYPE_CHECKING:
    from sbmlump.sbml.annotation import LumpingRecord

__all__ = ["NoLumping", "claim_of_files", "recorded_observables", "reduction_of_files", "verify"]


@dataclass(frozen=True, slots=True)
class NoLumping:
    """There is nothing to verify."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Files:
    """Two models that were read, and what each file says of the reduction that it came from."""

    reduced_path: str | Path
    original: OdeSystem
    reduced: OdeSystem
    record: LumpingRecord | None
    original_data: bytes

    @staticmethod
    def read(original: str | Path, reduced: str | Path) -> _Files:
        """Read both, each once; the first obstacle is raised."""
        before = read_model(original)
        system = before.required()
        after = read_model(reduced)
        return _Files(reduced, system, after.required(), _record(after.data), before.data)

    def own_record(self) -> LumpingRecord | None:
        """The record, unless the original carries it too: then it tells how the original was made."""
        if self.record is None or self.record == _record(self.original_data):
            return None
        return self.record


def _record(data: bytes) -> LumpingRecord | None:
    """What an SBML document says of its reduction; nothing where the file was not SBML."""
    from sbmlump.sbml.annotation import read_lumping_annotation

    return read_lumping_annotation(data) if data else None


def verify(
    original: str | Path, reduced: str | Path, *, seed: int = 0, fast_reactions: str | None = None
) -> ExactProof | Refutation | NoLumping:
    """Prove or refute, without simulation, that one file is an exact lumping of the other.

    The lumping is taken from the reduced file's annotation, else it is the identity on the states that have the
    same id in both. An annotation that the original carries too is of an earlier reduction and says nothing here.
    ``fast_reactions`` says what becomes of reactions that the original declares fast (``refuse``, ``equilibrium``,
    ``ordinary``).
    """
    with fast_reactions_as(fast_reactions):
        files = _Files.read(original, reduced)
    return _verify(files, seed)


def _verify(files: _Files, seed: int) -> ExactProof | Refutation | NoLumping:
    record = files.own_record()
    if record is None:
        return _verify_shared_states(files, seed)
    if record.certificate.get("kind") == "error-estimate":
        message = f"{files.reduced_path} says of itself that it is an approximation; measure it with 'sbmlump check'"
        return NoLumping((Reason("approximate", message),))
    claim = _claim_of_record(files.original, files.reduced, record)
    if isinstance(claim, Refutation):
        return claim
    if record.kind == "embedding":  # its lift names the members of each block
        blocks = {lump.id: tuple(row) for lump, row in zip(record.lumps, record.lift, strict=True)}
        return _no_more_than_proved(certify(replace(claim, map=CopiedStates(blocks)), seed), record)
    if record.kind == "elimination":
        proof = _proved_elimination(claim, record, seed)
        if proof is not None:
            return proof
    extended = with_totals(claim, record.starts)
    if isinstance(extended, Refutation):
        return extended
    outcome = certify(extended, seed)
    # sizes that weigh totals are taken at their values here, whatever else may be known of them
    return outcome if record.kind == "elimination" else _no_more_than_proved(outcome, record)


def _verify_shared_states(files: _Files, seed: int) -> ExactProof | Refutation | NoLumping:
    """Without a record: the states of the reduced model are those of the same id in the original."""
    before, after = files.original, files.reduced
    foreign = [name for name in after.states if name not in before.state_index]
    if foreign or not after.states:
        listed = ", ".join(foreign[:5]) or "none at all"
        message = f"{files.reduced_path} carries no lumping, and its states are not those of the original ({listed})"
        if set(before.states) <= set(after.definitions):
            message += "; name the original first, then the reduced model"
        return NoLumping((Reason("no-lumping", message),))
    rows = {name: {name: Fraction(1)} for name in after.states}
    claim = Claim(before, after, LumpedStates(rows, rows), _shared_ids(before, after, rows))
    if len(after.states) < len(before.states) <= len(set(before.states) & set(after.definitions)):
        proof = _proved_elimination(claim, None, seed)
        if proof is not None:
            return proof
    extended = with_totals(claim, {})
    return extended if isinstance(extended, Refutation) else certify_widest(extended, seed)


def _shared_ids(before: OdeSystem, after: OdeSystem, rows: Mapping[str, NamedRow]) -> dict[str, Node]:
    """What each id of the original that the reduced model defines too is in the original.

    Left out is what is compared anyway: constants of both and states that never change, by their values, and states
    that are lumps by themselves. The id of a reaction means its flux.
    """
    values = {c.id for c in after.constants} & {*(c.id for c in before.constants), *before.states}
    return {
        name: node
        for name, node in before.definitions.items()
        if name in after.definitions and name not in values and dict(rows.get(name, {})) != {name: Fraction(1)}
    }


def _no_more_than_proved(outcome: ExactProof | Refutation, record: LumpingRecord) -> ExactProof | Refutation:
    """The proof, unless the file says that values do not matter on which it rests."""
    # files from before there was that field say nothing of values
    if isinstance(outcome, Refutation) or "holds_for" not in record.certificate:
        return outcome
    text = "the lumping rests on {0} = {1}, but the file does not list {0} among the constants that it is valid for"
    hidden = [(name, value) for name, value in outcome.valid_for.items() if name not in record.valid_for]
    if not hidden:
        return outcome
    return Refutation(tuple(Reason("valid-for-differs", text.format(*pair), pair[0]) for pair in hidden))


def _proved_elimination(claim: Claim, record: LumpingRecord | None, seed: int) -> ExactProof | None:
    """The proof that states were eliminated by totals, where the claim says just that; ``None`` without one.

    It follows the states that stay point by point, and so also proves what is no linear lumping with generic functions:
    constants that are computed from initial values, rates that depend on totals through functions. It holds for all
    values of the constants, sizes of compartments among the weights of totals included.
    """
    lumping = claim.map
    if not isinstance(lumping, LumpedStates) or lumping.offset or lumping.faults(claim):
        return None
    totals = {} if record is None else recorded_totals(claim.original, record)
    initial_values = (
        None if record is None else {name: row for name, row in record.starts.items() if name not in totals}
    )
    # constants of this original that the record does not know take the values of the file
    known = () if record is None else {*record.symbolic, *record.valid_for}
    unknown = () if record is None else [c.id for c in claim.original.constants if c.id not in known]
    fixed = () if record is None else tuple(record.valid_for)
    for resting in dict.fromkeys((fixed, (*fixed, *unknown))):
        elimination = claim_of_files(
            claim.original, claim.reduced, claim.observables, lumping.rows, initial_values, resting, totals
        )
        proof = proof_of(elimination, seed)
        if proof is not None:
            return proof
    return None


def _claim_of_record(before: OdeSystem, after: OdeSystem, record: LumpingRecord) -> Claim | Refutation:
    try:
        named = {o.id: o.expression for o in recorded_observables(before, record)}
        recorded_totals(before, record)
    except UsageError as error:
        return Refutation(error.reasons)
    symbolic = frozenset(record.symbolic)
    constants = before.constant_values
    reasons = [
        Reason("unknown-parameter", f"{name} is not a constant of the original", name)
        for name in sorted(symbolic - {c.id for c in before.constants})
    ]
    if record.original_size != before.size:
        message = f"the lumping is said to be one of {record.original_size} states, but the original has {before.size}"
        reasons.append(Reason("lumping-mismatch", message))
    for name, text in record.valid_for.items():
        node = constants.get(name)
        value = None if node is None else before.graph.number_of(node)
        if value is not None and text != str(value):
            message = f"the lumping is said to be valid for {name} = {text}, but the original has {value}"
            reasons.append(Reason("valid-for-differs", message, name))
    if reasons:
        return Refutation(tuple(reasons))
    rows = {lump.id: lump.members for lump in record.lumps}
    lift = {lump.id: row for lump, row in zip(record.lumps, record.lift, strict=True)}
    lumping = LumpedStates(rows, lift, record.offset)
    return Claim(before, after, lumping, _shared_ids(before, after, rows) | named, symbolic)


def reduction_of_files(original: str | Path, reduced: str | Path, *, seed: int = 0) -> ReducedSystem:
    """The reduction that leads from one file to the other, as the reduced file's annotation describes it.

    Without an annotation it is the identity on the states that have the same id in both. The certificate is a proof
    where :func:`verify` proves the reduction, and otherwise an estimate with an error that is not known (infinite).

    Raises
    ------
    UsageError
        ``no-lumping`` if the annotation, or the ids, do not lead from the one to the other.
    """
    files = _Files.read(original, reduced)
    before, after, record = files.original, files.reduced, files.record
    index = before.state_index
    lumps: dict[str, NamedRow] = {name: {name: Fraction(1)} for name in after.states}
    lifted: dict[str, NamedRow] = {}
    if record is not None:
        lumps = {lump.id: lump.members for lump in record.lumps}
        lifted = {lump.id: row for lump, row in zip(record.lumps, record.lift, strict=True)}
    foreign = [n for n in after.states if n not in lumps or not set(lumps[n]) <= set(index)]
    if foreign:
        message = (
            f"{reduced} is no reduction of {original}: {', '.join(foreign[:5])} are made of states it does not have"
        )
        raise UsageError(Reason("no-lumping", message))

    def indexed(row: NamedRow) -> dict[int, Fraction]:
        return {index[name]: value for name, value in row.items() if name in index}

    matrix = LumpingMatrix(before.states, tuple(indexed(lumps[n]) for n in after.states))
    lift = LumpingMatrix(before.states, tuple(indexed(lifted.get(n, lumps[n])) for n in after.states))
    initial_values = {} if record is None else record.starts
    offset = {} if record is None else indexed(record.offset)
    kind = "elimination" if record is None else record.kind
    state_map: Map
    if kind == "embedding":
        state_map = Embedding(matrix, lift, offset)
    elif kind == "affine":
        state_map = AffineLumping(
            matrix, lift, offset, tuple((name, indexed(row)) for name, row in initial_values.items())
        )
    elif kind == "elimination":
        eliminated = tuple(n for n in before.states if n in after.definitions and n not in after.states)
        state_map = Elimination(matrix, lift, offset, assigned=eliminated, starts=initial_values)
    else:
        state_map = LinearLumping(matrix, lift, offset)
    proof = _verify(files, seed)
    unknown = float("inf")
    certificate = proof if isinstance(proof, ExactProof) else ErrorEstimate("unknown", 0.0, 0, 0.0, unknown, unknown)
    return ReducedSystem(
        before,
        after,
        (),
        tuple(Lump(n, lumps[n]) for n in after.states),
        state_map,
        certificate,
        "unknown" if record is None else record.method,
    )


def recorded_observables(before: OdeSystem, record: LumpingRecord) -> list[Observable]:
    """Observables as the annotation names them; each text is an expression of the original.

    Raises
    ------
    UsageError
        If a text is no expression of the original.
    """
    return [replace(parse_observables(before, [text])[0], id=name) for name, text in record.observables]


def recorded_totals(before: OdeSystem, record: LumpingRecord) -> dict[str, Node]:
    """Totals that the annotation gives as expressions of the original, of its states, constants and time.

    Raises
    ------
    UsageError
        ``bad-total`` if the text of one is no expression of the original.
    """
    found: dict[str, Node] = {}
    definitions = {clock_id(before.definitions): before.graph.time(), **before.definitions}
    for name, text in record.totals.items():
        try:
            found[name] = parse_expression(before.graph, text, definitions)
        except ExpressionError as error:
            message = f"the annotation says that {name} is {text!r}, which is no expression of the original: {error}"
            raise UsageError(Reason("bad-total", message, name)) from error
    return found


# -- Conserved totals that have become constants -----------------------------------------------------

# A reduced system of which conserved totals are constants is an ordinary lumping again once each total is taken as a
# further state with rate 0: then everything that is checked of a lumping covers the totals too (their initial values,
# and that they never change). So are states that never change and were made constants under their own ids.
#
# A constant that the original has too is no such total, whatever it is computed from: it is compared as a value.


def with_totals(claim: Claim, initial_values: Mapping[str, NamedRow]) -> Claim | Refutation:
    """The claim with every constant that is a total of original states taken as a state.

    Totals of amounts across compartments weigh concentrations by the compartments' sizes. A row of a lumping has
    numbers for weights, so such sizes are taken at their values, and the claim is no longer one for all of these.

    Parameters
    ----------
    claim : Claim
        About the system as it is written.
    initial_values : mapping of id to row
        Constants of the reduced system that are said to hold initial values, as combinations of original states.
    """
    sizes: set[str] = set()
    reasons = _check_initial_values(claim, initial_values, sizes)
    if reasons:
        return Refutation(tuple(reasons))
    assert isinstance(claim.map, LumpedStates)
    lumps = claim.map.rows
    rows = {**lumps, **initial_values}
    own = {c.id for c in claim.original.constants}
    states = set(claim.original.states)
    # of the constants that hold initial values only those that act are totals; others serve to compute such
    acting = acting_constants(claim.reduced)
    totals: dict[str, NamedRow] = {
        name: row for name, row in initial_values.items() if name in acting and name not in own
    }
    for constant in claim.reduced.constants:
        if constant.id in states:
            totals[constant.id] = {constant.id: Fraction(1)}
        elif constant.id in acting and constant.id not in own:
            total = _total(claim, constant, rows)
            if total is not None:
                totals[constant.id] = total[0]
                sizes |= total[1]
    if not totals:
        return claim
    extended = {**lumps, **totals}
    inverse = right_inverse(list(extended.values()), sorted({member for row in extended.values() for member in row}))
    return Claim(
        claim.original,
        _with_constant_states(claim.reduced, set(totals)),
        LumpedStates(extended, {} if inverse is None else dict(zip(extended, inverse, strict=True))),
        claim.observables,
        claim.symbolic - sizes,
    )


def acting_constants(system: OdeSystem) -> set[str]:
    """Ids that the dynamics, assigned quantities or events mention."""
    roots = [*system.rhs, *(quantity.value for quantity in system.assigned)]
    return system.graph.symbols([*roots, *event_expressions(system.events)])


def _check_initial_values(claim: Claim, initial_values: Mapping[str, NamedRow], sizes: set[str]) -> tuple[Reason, ...]:
    """Each constant that holds an initial value must hold the right one.

    A row has numbers for weights. Where a total agrees with its row only at the values of the constants that weigh it,
    these are added to ``sizes``.
    """
    original, reduced = claim.original, claim.reduced
    known, constants = set(original.states), {c.id for c in reduced.constants}
    for name, row in initial_values.items():
        if name not in constants or any(member not in known for member in row):
            text = f"{name} holds the initial value of something that is no state"
            return (Reason("unknown-member", text, name),)

    def compared(symbolic: frozenset[str]) -> tuple[ValuePair, ...]:
        free = ValueTable.free_of(original, symbolic)
        left, right = ValueTable(original, free), ValueTable(reduced, free)
        pairs: list[ValuePair] = []
        for name, row in initial_values.items():
            reason = Reason("initial-value-differs", f"{name} is not the initial value it stands for", name)
            pairs.append(ValuePair(left.combined(row), right.get(name), reason))
        return compare_values(original.graph, reduced.graph, pairs).wrong

    wrong = compared(claim.symbolic)
    for pair in wrong:
        sizes |= original.graph.symbols([pair.left] if pair.left is not None else [])
        sizes |= reduced.graph.symbols([pair.right] if pair.right is not None else [])
    return tuple(pair.reason for pair in compared(claim.symbolic - sizes)) if wrong else ()


def _total(claim: Claim, constant: Constant, rows: Mapping[str, NamedRow]) -> tuple[NamedRow, frozenset[str]] | None:
    """What a constant is in original states, if it is a sum of their initial values, else it is a value like others.

    With it the other constants in its value, which are taken at theirs.
    """
    graph, values = claim.reduced.graph, claim.reduced.constant_values
    mentioned = graph.symbols([] if constant.value is None else [constant.value])
    if constant.value is None or constant.id in rows or not mentioned & set(rows):
        return None
    weights = frozenset(name for name in mentioned - set(rows) if name in values)
    (value,) = graph.substitute([constant.value], {graph.symbol(name): values[name] for name in weights})
    total: dict[str, Fraction] = {}
    for term, factor in graph.linear_terms(value).items():
        name = graph.name(term) if claim.reduced.is_symbol(term) else None
        if name is None or name not in rows:
            return None
        add_multiple(total, rows[name], factor)
    return without_zeros(total), weights


def _with_constant_states(system: OdeSystem, names: set[str]) -> OdeSystem:
    zero = system.graph.number(0)
    totals = [c for c in system.constants if c.id in names and c.value is not None]
    return replace(
        system,
        states=(*system.states, *(c.id for c in totals)),
        initial=(*system.initial, *(c.value for c in totals if c.value is not None)),
        rhs=(*system.rhs, *(zero for _ in totals)),
        constants=tuple(c for c in system.constants if c.id not in names),
    )


def claim_of_files(
    original: OdeSystem,
    reduced: OdeSystem,
    observables: Mapping[str, Node],
    rows: Mapping[str, NamedRow] | None = None,
    initial_values: Mapping[str, NamedRow] | None = None,
    fixed: Iterable[str] = (),
    told: Mapping[str, Node] | None = None,
) -> Claim:
    """The claim that a model which was read back makes: its totals are what their initial assignments say.

    What stands in an initial assignment for the value of a state at time 0 is taken for that state at all times, which
    the proof then confirms or not.

    Parameters
    ----------
    rows : mapping of id to row, optional
        States of the reduced model that are combinations of original states.
    initial_values : mapping of id to row, optional
        Constants that hold initial values, as combinations of original states; if absent, those named ``X_at_start``
        hold that of the state X.
    fixed : iterable of str
        Constants that take the values of the file; the claim is made for all values of the others.
    told : mapping of id to Node, optional
        Totals that are these expressions of the original, whatever their initial assignments say.
    """
    graph = original.graph
    told = told or {}
    states = set(original.states)
    known = states | {c.id for c in original.constants}
    new = [c for c in reduced.constants if c.id not in known and c.value is not None]
    if initial_values is None:
        named = {c.id: _state_at_start(c.id, states) for c in new}
        initial_values = {name: {state: Fraction(1)} for name, state in named.items() if state is not None}
    state_map = EliminatedStates({}, initial_values, rows or {}, complete=False)

    forms = {
        name: graph.weighted_sum(row, graph.symbol)
        for name, row in (*initial_values.items(), *state_map.lumps(reduced).items())
    }
    used = reduced.graph.symbols([c.value for c in new if c.value is not None and c.id not in initial_values])
    mapping = {reduced.graph.symbol(name): forms.get(name, graph.symbol(name)) for name in used}
    totals = {
        c.id: graph.transplant(reduced.graph, [c.value], mapping)[0]
        for c in new
        if c.id not in initial_values and c.value is not None
    }
    totals |= {name: node for name, node in told.items() if name not in known}
    # an id that a rule defines (the size of a compartment) means at all times what the rule says
    opened = {graph.symbol(quantity.id): quantity.value for quantity in original.assigned}
    totals = dict(zip(totals, graph.substitute(list(totals.values()), opened), strict=True))
    # a constant that holds initial values and acts on the dynamics is a total itself
    acting = acting_constants(reduced)
    totals |= {name: forms[name] for name in initial_values if name in acting and name not in known}
    return Claim(original, reduced, replace(state_map, totals=totals), observables, symbolic_but(original, fixed))


def _state_at_start(name: str, states: Set[str]) -> str | None:
    stem, mark, number = name.rpartition("_at_start")
    return stem if mark and stem in states and (not number or number[1:].isdigit()) else None
