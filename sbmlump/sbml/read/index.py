"""What the ids of an SBML file mean and what changes in it: all that a simulation has to know besides mathematics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sbmlump.sbml.read.elements import RawModel
from sbmlump.sbml.read.mathml import Program

__all__ = ["ModelIndex", "QuantitySelection", "SelectionKind", "index_of"]


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
