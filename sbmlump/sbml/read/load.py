"""Read an SBML file into an :class:`~sbmlump.model.system.OdeSystem`, or say everything that prevents it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

from sbmlump.errors import Reason, UnsupportedModelError, some_names
from sbmlump.files import ModelFile, collector_paused
from sbmlump.model.system import OdeSystem
from sbmlump.options import chosen_fast_reactions
from sbmlump.sbml.read.alike import AlikeReaction, alike_reactions
from sbmlump.sbml.read.assemble import Assembly
from sbmlump.sbml.read.document import Opened, flatten, open_sbml, text_of
from sbmlump.sbml.read.elements import Problems, RawModel, check_packages, is_flux_balance, read_elements
from sbmlump.sbml.read.mathml import Program
from sbmlump.sbml.read.precheck import READ_LIMITS, ReadLimits

__all__ = [
    "ReadResult",
    "load_sbml",
    "parse_sbml",
    "read_sbml",
    "read_opened",
    "ModelIndex",
    "QuantitySelection",
    "SelectionKind",
    "index_of",
]


# -- What the ids of an SBML file mean and what changes in it --------------------------------------

# What the ids of an SBML file mean and what changes in it: all that a simulation has to know besides mathematics.


SelectionKind = Literal["amount", "concentration", "value", "flux"]
"""How a quantity is read: a species as amount or concentration, a reaction as extent per time, all else as it is."""

_NO_BOUND_IS_LARGER: Final = 10**9
"""Operands are counted up to here: beyond every bound that anything is compared with."""


@dataclass(frozen=True, slots=True)
class QuantitySelection:
    """One quantity of a model, and as what its value is wanted."""

    id: str
    kind: SelectionKind


@dataclass(frozen=True, slots=True)
class ModelIndex:
    """Quantities of an SBML file without submodels.

    Attributes
    ----------
    kinds : mapping from id to kind
        What each id (species, compartment, parameter, reaction, species reference) means in the file's mathematics.
    moving : tuple of str
        Ids, in order of the file, of what may change: species that reactions change, targets of rate rules,
        assignment rules and event assignments. Reactions are not among them.
    old_rate_of : bool
        Whether a function definition stands for ``rateOf``, as tools wrote it before Level 3 Version 2: with the body
        NaN and an annotation that says what it means.
    algebraic : bool
        Whether there are algebraic rules.
    events : bool
        Whether there are events.
    undiluted : tuple of str
        Species that a rate rule changes as concentrations, in compartments whose size changes: by the specification the
        rule is all that changes them. libRoadRunner (where the size has an assignment rule) and COPASI (where it has
        any) dilute them besides.
    fast : bool
        Whether reactions are declared fast, which simulators know nothing of.
    denominators : bool
        Whether stoichiometries of Level 2 are rational numbers, of which libRoadRunner leaves out the denominators.
    operands : int
        Numbers and ids in the mathematics with every assignment rule written out where its target stands and every
        function definition where it is called, at most 10⁹: what a simulator that compiles models so has to compile.
    """

    kinds: Mapping[str, SelectionKind]
    moving: tuple[str, ...]
    old_rate_of: bool = False
    algebraic: bool = False
    events: bool = False
    undiluted: tuple[str, ...] = ()
    fast: bool = False
    denominators: bool = False
    operands: int = 0

    @property
    def reactions(self) -> int:
        """Number of reactions."""
        return sum(kind == "flux" for kind in self.kinds.values())

    @property
    def species(self) -> tuple[str, ...]:
        """Those of ``moving`` that are species."""
        return tuple(name for name in self.moving if self.kinds[name] in ("amount", "concentration"))

    def selection(self, name: str) -> QuantitySelection | None:
        """How the id ``name`` is read so that it has the value that it has in the file's mathematics."""
        kind = self.kinds.get(name)
        return None if kind is None else QuantitySelection(name, kind)

    def selections(self, names: Iterable[str]) -> dict[str, QuantitySelection]:
        """The selections of those of ``names`` that there are."""
        return {name: selection for name in names if (selection := self.selection(name)) is not None}


def index_of(raw: RawModel) -> ModelIndex:
    """The index of the records of a model."""
    kinds: dict[str, SelectionKind] = {}
    moving: dict[str, None] = {}
    for name, entry in raw.entries.items():
        quantity = entry.quantity
        if quantity.kind == "species":
            kinds[name] = "amount" if quantity.amount else "concentration"
            if not quantity.boundary and not quantity.written_constant:
                moving[name] = None
        elif quantity.kind != "local-parameter":
            kinds[name] = "value"
    kinds |= {reaction.id: "flux" for reaction in raw.reactions}
    moving |= dict.fromkeys(raw.ruled)
    moving |= {rule.target: None for event in raw.events for rule in event.assignments}
    return ModelIndex(
        kinds=kinds,
        moving=tuple(name for name in moving if name in kinds),
        old_rate_of=raw.old_rate_of,
        algebraic=bool(raw.algebraic),
        events=bool(raw.events),
        undiluted=tuple(
            name
            for name, kind in kinds.items()
            if kind == "concentration" and name in raw.rates and raw.entries[name].quantity.compartment in moving
        ),
        fast=bool(raw.fast),
        denominators=raw.denominators,
        operands=_written_out(raw),
    )


def _written_out(raw: RawModel) -> int:
    """Operands of all formulas with assignment rules and function definitions written out; a cycle counts once."""
    named: dict[str | None, list[Program]] = {None: []}
    for name, function in raw.functions.items():
        named[name] = [function.body or ()]
    for target, program, _ in raw.formulas():
        named.setdefault(target, []).append(program)
    operands = {name: _operands(programs, named) for name, programs in named.items()}
    size: dict[str | None, int] = {}
    stack: list[tuple[str | None, bool]] = [(target, False) for target in operands]
    opened: set[str | None] = set()
    while stack:
        target, ready = stack.pop()
        if ready:
            total = sum(count * max(size.get(name, 1), 1) for name, count in operands[target].items())
            size[target] = min(total, _NO_BOUND_IS_LARGER)
        elif target not in opened:
            opened.add(target)
            stack.append((target, True))
            stack.extend((name, False) for name in operands[target] if name in operands)
    return min(sum(size.values()), _NO_BOUND_IS_LARGER)


def _operands(programs: Iterable[Program], named: Mapping[str | None, object]) -> Counter[str]:
    """How often each of ``named`` stands in programs, and under the empty name how many other operands."""
    counts: Counter[str] = Counter()
    for program in programs:
        for kind, payload, arity in program:
            if kind in ("name", "rate-of", "call") and payload in named:
                counts[payload] += 1
            elif not arity:
                counts[""] += 1
    return counts


# -- Read an SBML file into an ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What came of reading a file: all that anybody wants of it, so that it is read once.

    Attributes
    ----------
    system : OdeSystem or None
        ``None`` when there is any reason.
    reasons : tuple of Reason
        Everything that prevents an OdeSystem, all at once.
    id, name, level, version, file
        Of the model and the file; level and version of an SBML file only.
    counts : mapping of str to int
        ``compartments``, ``species``, ``states``, ``parameters``, ``local_parameters``, ``reactions``, ``events``,
        ``functions``, ``assignment_rules``, ``rate_rules``, ``algebraic_rules``, ``initial_assignments``,
        ``constraints``; also when the model is refused.
    remarks : tuple of Reason
        What is read otherwise than one might expect, and stops nothing.
    data : bytes
        The SBML file as one UTF-8 document, as every tool reads it; empty for a file that is not SBML.
    flat : bytes
        The same without submodels.
    """

    system: OdeSystem | None
    reasons: tuple[Reason, ...]
    id: str
    name: str | None
    level: int | None
    version: int | None
    file: str
    counts: Mapping[str, int]
    remarks: tuple[Reason, ...] = ()
    data: bytes = field(default=b"", repr=False)
    flat: bytes = field(default=b"", repr=False)
    _raw: RawModel | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of_system(cls, system: OdeSystem, file: str) -> ReadResult:
        """What came of reading a file that is not SBML."""
        counts = {
            "states": system.size,
            "parameters": len(system.constants),
            "local_parameters": 0,
            "reactions": len(system.reactions),
            "events": len(system.events),
        }
        return cls(system, (), system.id, system.name, None, None, file, counts, system.origin.remarks)

    def required(self) -> OdeSystem:
        """The system.

        Raises
        ------
        UnsupportedModelError
            If the file holds what cannot become an ODE system here; carries every reason.
        """
        if self.system is None:
            raise UnsupportedModelError(self.reasons)
        return self.system

    def index(self) -> ModelIndex:
        """What the ids in ``flat`` mean; worked out when it is asked for."""
        assert self._raw is not None
        return index_of(self._raw)


def read_sbml(
    source: str | Path | ModelFile,
    unvalued: AbstractSet[str] = frozenset(),
    limits: ReadLimits = READ_LIMITS,
) -> ReadResult:
    """Read an SBML file.

    Parameters
    ----------
    source : path or ModelFile
        Where it lies, or what has been read of it.
    unvalued : set of str
        Ids that may be without a value: what is written of a system whose parameters are symbols only (an ``.ode``
        file may have such) is read back with them.
    limits : ReadLimits

    Raises
    ------
    InputError
        If it is not a readable SBML file; every other obstacle is a reason of the result.
    """
    with collector_paused():
        return read_opened(open_sbml(source, limits), unvalued, limits)


def read_opened(
    opened: Opened, unvalued: AbstractSet[str] = frozenset(), limits: ReadLimits = READ_LIMITS
) -> ReadResult:
    """Read a model that has been opened; see :func:`read_sbml`."""
    problems = Problems(opened.file)
    document = opened.document
    level, version = document.getLevel(), document.getVersion()
    check_packages(document, problems)
    layered = document.getModel().isPackageEnabled("comp")
    # what submodels of other files carry does not show in the bytes of this one
    data = None if flatten(opened, problems, limits) else opened.data
    alike: Sequence[AlikeReaction | None] = ()
    if data is not None and opened.fast_path:
        alike = alike_reactions(data.decode(), document.getModel(), limits)
    raw = read_elements(document, opened.file, opened.sha256, problems, data, alike)
    raw.flux_balance = is_flux_balance(document, raw)
    if raw.flux_balance:
        text = "the model is one of flux balance: reactions have bounds but no kinetic laws, so it has no dynamics"
        problems.add("flux-balance-only", text)
    choice = chosen_fast_reactions()
    if raw.fast and choice == "refuse":
        _refuse_fast(raw, problems, limits)
    at_equilibrium = bool(raw.fast) and choice == "equilibrium"
    assembly = Assembly(raw, problems, unvalued, limits, past=at_equilibrium)
    counts = _counts(raw) | {"states": len(assembly.roles.states)}
    system = assembly.system()
    if system is not None and raw.fast:
        past = assembly.builder.past or {}
        system = _with_fast_reactions(system, raw, problems, past) if at_equilibrium else system
        if choice == "ordinary":
            text = f"{_fast_ones(raw, limits)}; taken for ordinary here, as most simulators do"
            problems.remark("fast-as-ordinary", text)
    reasons, remarks = problems.reasons(), problems.remarks()
    if system is not None and remarks:
        system = replace(system, origin=replace(system.origin, remarks=(*system.origin.remarks, *remarks)))
    flat = text_of(document).encode() if layered else opened.data
    return ReadResult(
        system, reasons, raw.id, raw.name, level, version, opened.file, counts, remarks, opened.data, flat, raw
    )


def _fast_ones(raw: RawModel, limits: ReadLimits) -> str:
    names = list(raw.fast)
    if len(names) == 1:
        return f"reaction {names[0]!r} is declared fast"
    return f"{len(names)} of {len(raw.reactions)} reactions are declared fast ({some_names(names, limits.named)})"


def _refuse_fast(raw: RawModel, problems: Problems, limits: ReadLimits) -> None:
    name, line = next(iter(raw.fast.items()))
    text = (
        f"{_fast_ones(raw, limits)}: at equilibrium at all times, which is not an ODE; choose --fast-reactions "
        "equilibrium (as SBML says) or ordinary (as most simulators take them)"
    )
    problems.add("fast-reaction", text, name, line)


def _with_fast_reactions(
    system: OdeSystem, raw: RawModel, problems: Problems, past: Mapping[str, tuple[str, Fraction]]
) -> OdeSystem | None:
    """The system with fast reactions at equilibrium; ``None``, with problems, where that cannot be written down."""
    from sbmlump.sbml.read.fast import at_equilibrium

    changed = {part.species for one in raw.reactions if one.id in raw.fast for part in (*one.reactants, *one.products)}
    if raw.old_rate_of:
        problems.add(
            "no-fast-equilibrium", "a function that means rateOf has no value beside fast reactions; remove it"
        )
    for _, program, names in raw.formulas():
        for step in program:
            if step.kind == "rate-of" and (step.payload in changed or step.payload in raw.assignments):
                text = f"rateOf({step.payload}) means no value where fast reactions are at equilibrium; remove it"
                problems.add("no-fast-equilibrium", text, step.payload)
            elif step.kind == "name" and step.payload in raw.fast and step.payload not in names:
                text = f"the rate of the fast reaction {step.payload!r} is in a formula, but at equilibrium it has none"
                problems.add("no-fast-equilibrium", f"{text}; remove it", step.payload, raw.fast[step.payload])
    if problems:
        return None
    try:
        found, remark = at_equilibrium(system, list(raw.fast), past)
    except UnsupportedModelError as error:
        for reason in error.reasons:
            problems.add(reason.code, reason.message, reason.element, raw.fast.get(reason.element or ""))
        return None
    problems.remark(remark.code, remark.message)
    return found


def load_sbml(source: str | Path | ModelFile) -> OdeSystem:
    """The system in an SBML file.

    Raises
    ------
    InputError
        If it is not a readable SBML file.
    UnsupportedModelError
        If it holds what cannot become an ODE system here; carries every reason.
    """
    return read_sbml(source).required()


def parse_sbml(data: bytes, *, file: str = "text") -> OdeSystem:
    """The system in an SBML document that is in memory; see :func:`load_sbml`."""
    return load_sbml(ModelFile(data, file, ".xml", None))


def _counts(raw: RawModel) -> dict[str, int]:
    kinds = [entry.quantity.kind for entry in raw.entries.values()]
    return {
        "compartments": kinds.count("compartment"),
        "species": kinds.count("species"),
        "parameters": kinds.count("parameter"),
        "local_parameters": kinds.count("local-parameter"),
        "reactions": len(raw.reactions),
        "events": len(raw.events),
        "functions": len(raw.functions),
        "assignment_rules": len(raw.assignments),
        "rate_rules": len(raw.rates),
        "algebraic_rules": len(raw.algebraic),
        "initial_assignments": len(raw.initial),
        "constraints": len(raw.constraints),
    }
