"""What elements of the original carried (SBO terms, metaids, notes …), put on those that are written for them.

Whatever is asked for is written; what is left at the end is said, once for each kind of element.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final, Protocol

from sbmlump.errors import Reason
from sbmlump.model.evaluate import field_values
from sbmlump.model.graph import Graph, Node
from sbmlump.model.reduced import Embedding, ErrorEstimate, LinearLumping, ReducedSystem
from sbmlump.model.system import Constraint, Description, Key, Package
from sbmlump.model.text import to_text
from sbmlump.sbml.annotation import Tag, attributes, element, extras, is_well_formed, tags_of
from sbmlump.sbml.write.mathml import MATHML

__all__ = [
    "CORE",
    "DescriptionWriter",
    "numbered_names",
    "identity_attributes",
    "sbo_term",
    "PackageWriter",
    "carried_constraints",
    "lost_constraints",
]


CORE: Final = "http://www.sbml.org/sbml/level3/version2/core"
_SBO: Final = re.compile(r"SBO:[0-9]{7}")
_NUMBER: Final = re.compile(r"<cn\b[^>]*>.*?</cn>", re.DOTALL)
_PARTS: Final = {
    "id": "ids",
    "name": "names",
    "sbo": "SBO terms",
    "metaid": "metaids",
    "notes": "notes",
    "annotation": "annotations",
    "units": "units of numbers",
}
_KINDS: Final = {
    "sbml": "the sbml element",
    "unitDefinition": "unit definitions",
    "unit": "units in definitions",
    "assignmentRule": "assignment rules",
    "rateRule": "rate rules",
    "algebraicRule": "algebraic rules",
    "initialAssignment": "initial assignments",
    "constraint": "constraints",
    "kineticLaw": "kinetic laws",
    "reactant": "reactants",
    "product": "products",
    "modifier": "modifiers",
    "trigger": "triggers",
    "delay": "delays",
    "priority": "priorities",
    "eventAssignment": "event assignments",
    "list": "lists",
}


def sbo_term(text: str | None) -> str | None:
    """``text`` if it is an SBO term."""
    return text if text is not None and _SBO.fullmatch(text) else None


class Identified(Protocol):
    """What has an id, a name and terms of its own."""

    @property
    def id(self) -> str | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def sbo(self) -> str | None: ...
    @property
    def metaid(self) -> str | None: ...


def identity_attributes(one: Identified) -> str:
    """Attributes that say what ``one`` is."""
    return attributes(metaid=one.metaid, sboTerm=sbo_term(one.sbo), id=one.id, name=one.name)


class DescriptionWriter:
    """Hands out what is said of each element, and knows in the end what was not asked for.

    Parameters
    ----------
    descriptions : mapping of Key to Description
        Of the original.
    ids : collection of str
        Ids of the written model; no described element may have one of them.
    stale : collection of Key
        Elements that are no longer what was described.
    units : mapping of str to str
        Units that can be written.
    numbers : mapping of str to Fraction
        Every ``cn`` element handed out so far, and what it stands for; may grow.
    """

    def __init__(
        self,
        descriptions: Mapping[Key, Description],
        ids: Collection[str],
        stale: Collection[Key],
        units: Mapping[str, str],
        numbers: Mapping[str, Fraction],
    ) -> None:
        self._descriptions = descriptions
        self._ids = frozenset(ids)
        self._stale = frozenset(stale)
        self._units = units
        self._numbers = numbers
        self._used: set[Key] = set()
        self._lost: list[tuple[Key, str]] = []

    def used(self, key: Key) -> None:
        """Note that what is said of ``key`` is written elsewhere."""
        self._used.add(key)

    def name(self, key: Key) -> str | None:
        """The name of the element."""
        found = self._found(key)
        return None if found is None else found.name

    def head(self, *key: str, named: bool = True) -> str:
        """Attributes of the element; without id and name where it has those of its own (``named`` is false)."""
        found = self._found(key)
        return "" if found is None else self.head_of(found, key, named=named)

    def head_of(self, found: Description, key: Key, *, named: bool = True) -> str:
        """Attributes that say ``found`` of the element ``key``."""
        own = found.id
        if own in self._ids and named:
            self._lost.append((key, "id"))
            own = None
        sbo = sbo_term(found.sbo)
        if sbo is None and found.sbo is not None:
            self._lost.append((key, "sbo"))
        return attributes(
            metaid=found.metaid, sboTerm=sbo, id=own if named else None, name=found.name if named else None
        )

    def content(self, *key: str) -> str:
        """Notes and annotation of the element."""
        found = self._found(key)
        return "" if found is None else self.content_of(found, key)

    def content_of(self, found: Description, key: Key) -> str:
        """Notes and annotation in ``found``, as far as they can stand by themselves."""
        kept: dict[str, str | None] = {}
        for part in ("notes", "annotation"):
            fragment = getattr(found, part)
            if fragment is not None and not is_well_formed(fragment):
                self._lost.append((key, part))
                fragment = None
            kept[part] = fragment
        return extras(None, kept["notes"], kept["annotation"])

    def math(self, text: str, *key: str) -> str:
        """A ``math`` element with the units of its numbers, where they are the numbers that the original had there."""
        found = self._found(key)
        return text if found is None else self.math_of(text, found, key)

    def math_of(self, text: str, found: Description, key: Key) -> str:
        """See :meth:`math`."""
        if not found.units:
            return text
        units: dict[Fraction, set[str | None]] = {}
        for number, unit in found.units:
            units.setdefault(number, set()).add(None if unit is None else self._units.get(unit))
        written = Counter(self._numbers.get(one) for one in _NUMBER.findall(text))
        # a number that arithmetic has made has another unit, and one of two equal ones cannot be told from the other
        if written != Counter(number for number, _ in found.units) or any(len(some) > 1 for some in units.values()):
            self._lost.append((key, "units"))
            return text
        if any(unit is not None and self._units.get(unit) is None for _, unit in found.units):
            self._lost.append((key, "units"))

        def with_unit(match: re.Match[str]) -> str:
            (unit,) = units[self._numbers[match[0]]]
            return match[0] if unit is None else f"<cn{attributes(**{'sbml:units': unit})}{match[0][3:]}"

        text = _NUMBER.sub(with_unit, text)
        return text.replace(f'<math xmlns="{MATHML}"', f'<math xmlns="{MATHML}" xmlns:sbml="{CORE}"', 1)

    def section(self, name: str, items: Iterable[str], *place: str) -> str:
        """A ``listOf…`` element, or nothing if it would be empty."""
        body = "".join(items)
        return body and element(name, self.head(name, *place), self.content(name, *place) + body)

    # -- what is lost --------------------------------------------------------------------------------

    def lost(self) -> tuple[Reason, ...]:
        """One reason for each kind of element of which something is not written."""
        parts: dict[str, dict[str, None]] = {}
        places: dict[str, dict[Key, None]] = {}
        lost = list(self._lost)
        for key, found in self._descriptions.items():
            if key not in self._used and key[0] != "functionDefinition":
                lost += [(key, part) for part in _PARTS if getattr(found, part)]
        for key, part in lost:
            kind = "list" if key[0].startswith("listOf") else key[0]
            parts.setdefault(kind, {})[part] = None
            places.setdefault(kind, {})[key] = None
        reasons = [_reason(kind, list(parts[kind]), list(places[kind])) for kind in parts]
        return (*reasons, *self._functions())

    def _functions(self) -> Iterator[Reason]:
        """Function definitions that are gone, and those that nothing calls any more."""
        keys = [key for key in self._descriptions if key[0] == "functionDefinition"]
        for what, names in (
            ("function definitions", [key[1] for key in keys if key not in self._used]),
            ("calls of function definitions", [key[1] for key in keys if key in self._used]),
        ):
            if names:
                text = f"not kept: {what} ({numbered_names(names)}); their formulas stand where they were called"
                yield Reason("not-kept", text)

    def _found(self, key: Key) -> Description | None:
        found = self._descriptions.get(key)
        if found is None or key in self._stale:
            return None
        self._used.add(key)
        return found


def _reason(kind: str, parts: list[str], places: list[Key]) -> Reason:
    what = [text for part, text in _PARTS.items() if part in parts]
    listed = what[0] if len(what) == 1 else ", ".join(what[:-1]) + " and " + what[-1]
    if kind == "sbml":
        return Reason("not-kept", f"not kept: {listed} of {_KINDS[kind]}")
    return Reason(
        "not-kept", f"not kept: {listed} of {_KINDS[kind]} ({numbered_names([_label(key) for key in places])})"
    )


def numbered_names(names: list[str], most: int = 5) -> str:
    """``12: a, b, c, d, e, …``."""
    return f"{len(names)}: " + ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _label(key: Key) -> str:
    kind, *rest = key
    if not rest:
        return kind
    if kind in ("reactant", "product", "modifier"):
        return f"{rest[1]} in {rest[0]}"
    if kind == "eventAssignment":
        return f"{rest[1]} in {rest[0]}"
    return f"{kind} of {rest[0]}" if kind.startswith("listOf") else rest[0]


# -- Packages that change nothing in the mathematics (layout ---------------------------------------


_GROUPS: Final = "groups"
_MODEL: Final = ("model",)

#: References of package elements to elements of the core: (element, attribute), and whether the element goes with what
#: it refers to; else it loses the attribute only.
_TO_CORE: Final[Mapping[tuple[str, str], bool]] = {
    ("compartmentGlyph", "compartment"): True,
    ("speciesGlyph", "species"): True,
    ("reactionGlyph", "reaction"): True,
    ("generalGlyph", "reference"): True,
    ("speciesReferenceGlyph", "speciesReference"): False,
    ("referenceGlyph", "reference"): False,
    ("textGlyph", "originOfText"): True,
    ("member", "idRef"): True,
    ("member", "metaIdRef"): True,
    ("fluxObjective", "reaction"): True,
    ("fluxBound", "reaction"): True,
    ("geneProduct", "associatedSpecies"): False,
    ("userDefinedConstraintComponent", "variable"): True,
}
#: References among the elements of a package; what refers to something that is gone goes, too.
_INSIDE: Final = frozenset(
    {("speciesReferenceGlyph", "speciesGlyph"), ("referenceGlyph", "glyph"), ("textGlyph", "graphicalObject")}
)
_EMPTY_WITHOUT_LIST: Final = frozenset({"group", "objective", "reactionGlyph", "userDefinedConstraint"})
"""Elements that say nothing once a list in them is empty."""


class PackageWriter:
    """Attributes and children of packages, without what refers to elements that are not written.

    Parameters
    ----------
    packages : sequence of Package
    others : sequence of str
        Names of packages of which nothing is kept.
    new_ids : collection of str
        Ids of the written model that the original does not have.
    whole : bool
        Whether the model is the original itself; flux bounds are claimed to be complete of it only.
    """

    def __init__(
        self, packages: Sequence[Package], others: Sequence[str], new_ids: Collection[str], *, whole: bool
    ) -> None:
        clashing = {p.name for p in packages if not p.ids.isdisjoint(new_ids)}
        self._packages = [p for p in packages if p.name not in clashing]
        self._gone = [*others, *sorted(clashing)]
        self._whole = whole
        self._removed: dict[str, int] = {}
        self._written: set[tuple[str, Key]] = set()

    def attributes(self, *key: str) -> str:
        """Attributes that packages put on an element of the core."""
        text = ""
        for package in self._packages:
            values = package.attributes.get(key)
            if values is None:
                continue
            self._written.add((package.name, key))
            if key == _MODEL and not self._whole and "strict" in values:
                values = {**values, "strict": "false"}
            text += attributes(**{f"{package.prefix}:{name}": value for name, value in values.items()})
        return text

    def children(self, *key: str) -> str:
        """Elements that packages put into one of the core; not pruned, for what does not refer to others."""
        text = ""
        for package in self._packages:
            found = package.children.get(key)
            if found is not None:
                self._written.add((package.name, key))
                text += "".join(f"{one}\n" for one in found)
        return text

    def in_model(self, body: str, own_groups: str) -> str:
        """Lists of the model, for a model with the elements in ``body``; ``own_groups`` is a list of groups to add."""
        ids = _values(body, "id")
        metaids = _values(body, "metaid")
        text = ""
        for package in self._packages:
            found = package.children.get(_MODEL, ())
            if found:
                self._written.add((package.name, _MODEL))
            kept = [one for one in (self._pruned(package, fragment, ids, metaids) for fragment in found) if one]
            if package.name == _GROUPS and own_groups and kept:
                own_groups, kept = _joined(own_groups, kept[0]), []
            text += "".join(f"{one}\n" for one in kept)
        return text + own_groups

    def namespaces(self, text: str) -> str:
        """Declarations of the packages that ``text`` uses."""
        return "".join(
            attributes(**{f"xmlns:{p.prefix}": p.uri, f"{p.prefix}:required": "false"})
            for p in self._packages
            if re.search(rf"[<\s/]{re.escape(p.prefix)}:", text)
        )

    def lost(self) -> Iterator[Reason]:
        """What of the packages is not written."""
        for package in self._packages:
            keys = {*package.children, *package.attributes}
            missing = [key for key in keys if (package.name, key) not in self._written]
            count = len(missing) + self._removed.get(package.name, 0)
            if count:
                text = f"not kept: {count} parts of the package {package.name} that say something of what is not there"
                yield Reason("not-kept", text)
        for name in self._gone:
            yield Reason("not-kept", f"not kept: the package {name}")

    def _pruned(self, package: Package, fragment: str, ids: Collection[str], metaids: Collection[str]) -> str:
        """A list without what refers to elements that are not there; empty if nothing is left of it."""
        tags = tags_of(fragment)
        present = {*ids, *(tag.attributes["id"] for tag in tags if "id" in tag.attributes)}
        gone: set[int] = set()
        less: dict[int, list[str]] = {}
        for index, tag in enumerate(tags):
            for name, value in tag.attributes.items():
                removes = _TO_CORE.get((tag.name, name))
                if removes is None or value in (metaids if name == "metaIdRef" else present):
                    continue
                if removes:
                    gone.add(index)
                else:
                    less.setdefault(index, []).append(name)
        _close(tags, gone)
        if not (gone or less):
            return fragment
        self._removed[package.name] = self._removed.get(package.name, 0) + sum(tags[i].parent not in gone for i in gone)
        return "" if 0 in gone else _without(fragment, tags, gone, less)


def _close(tags: Sequence[Tag], gone: set[int]) -> None:
    """Add to ``gone`` what goes with it: what is inside, lists that become empty, and what refers to it."""
    before = -1
    while len(gone) != before:
        before = len(gone)
        full: set[int] = set()
        listed: dict[int, bool] = {}
        for index, tag in enumerate(tags):
            if tag.parent in gone:
                gone.add(index)
        names = {tag.attributes["id"] for index, tag in enumerate(tags) if index in gone and "id" in tag.attributes}
        for index, tag in enumerate(tags):
            if any((tag.name, name) in _INSIDE and value in names for name, value in tag.attributes.items()):
                gone.add(index)
            if index not in gone:
                full.add(tag.parent)
        for index, tag in enumerate(tags):
            if tag.name.startswith("listOf") and index not in full:
                listed[index] = True
                gone.add(index)
        for index in listed:
            parent = tags[index].parent
            if parent >= 0 and tags[parent].name in _EMPTY_WITHOUT_LIST:
                gone.add(parent)


def _without(fragment: str, tags: Sequence[Tag], gone: Collection[int], less: Mapping[int, Sequence[str]]) -> str:
    """``fragment`` without the elements ``gone`` and the attributes ``less``."""
    data = fragment.encode()
    pieces: list[bytes] = []
    place = 0
    for index, tag in enumerate(tags):
        if tag.start < place:
            continue
        if index in gone:
            pieces.append(data[place : tag.start])
            place = tag.end
        elif index in less:
            head = data[tag.start : tag.head]
            for name in less[index]:
                head = re.sub(rb"\s(?:[\w.-]+:)?" + name.encode() + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", head)
            pieces += (data[place : tag.start], head)
            place = tag.head
    return b"".join((*pieces, data[place:])).decode()


def _joined(first: str, second: str) -> str:
    """Two lists as one: the elements of the second at the end of the first."""
    tags = tags_of(second)
    data = second.encode()
    inside = data[tags[0].head : data.rindex(b"</")].decode()
    return first[: first.rindex("</")] + inside.strip() + "\n" + first[first.rindex("</") :]


def _values(body: str, name: str) -> set[str]:
    return set(re.findall(rf"\s{name}=\"([^\"]*)\"", body))


# -- Constraints of the original -------------------------------------------------------------------


def carried_constraints(reduced: ReducedSystem) -> tuple[tuple[Constraint, ...], tuple[Constraint, ...]]:
    """Constraints of the reduced model, and those of the original that it cannot have.

    A condition stays if all states in it are still there under their ids, as states or assigned quantities, or if it is
    a function of the lumps of an exact reduction: taken at the lift and back at the original states, it is the
    condition that it was. Constants that are gone are put in by their values.
    """
    original, system = reduced.original, reduced.system
    if len(system.constraints) == len(original.constraints) or system.graph is not original.graph:
        return system.constraints, () if system.constraints else original.constraints
    graph = system.graph
    alone = {lump.id for lump in reduced.lumps if lump.is_single}
    ids = {graph.symbol(name): graph.symbol(name) for name in alone}
    ids |= {graph.symbol(a.id): a.value for a in system.assigned if a.id in original.state_index}
    present = {c.id for c in system.constants}
    start = original.at_start()
    constants = {
        graph.symbol(c.id): graph.symbol(c.id) if c.id in present else start[c.id]
        for c in original.constants
        if c.id in present or c.id in start
    }
    conditions = [one.condition for one in original.constraints]
    by_ids = graph.substitute(conditions, ids | constants)
    known = {*map(graph.name, ids), *map(graph.name, constants)}
    named = [graph.symbols([condition]) <= known for condition in conditions]
    lifted = _at_lift(reduced, conditions)
    kept: list[Constraint] = []
    lost: list[Constraint] = []
    for constraint, own, here, lump in zip(original.constraints, by_ids, named, lifted, strict=True):
        node = own if here else lump
        if node is None:
            lost.append(constraint)
        else:
            kept.append(Constraint(graph.substitute([node], constants)[0], constraint.message, constraint.description))
    return tuple(kept), tuple(lost)


def _at_lift(reduced: ReducedSystem, conditions: Sequence[Node]) -> list[Node | None]:
    """Each of ``conditions`` over the lumps, where it is a function of them."""
    way = reduced.map
    exact = isinstance(way, Embedding) or type(way) is LinearLumping
    if not exact or isinstance(reduced.certificate, ErrorEstimate):
        return [None] * len(conditions)
    graph, states = reduced.system.graph, reduced.original.states
    lumps = [graph.symbol(name) for name in reduced.system.states]
    parts: dict[int, list[Node]] = {j: [graph.number(value)] for j, value in way.offset.items()}
    for lump, row in zip(lumps, way.lift.rows, strict=True):
        for j, value in row.items():
            parts.setdefault(j, []).append(graph.scaled(value, lump))
    lift = {graph.symbol(name): graph.add(parts.get(j, ())) for j, name in enumerate(states)}
    lifted = graph.substitute(list(conditions), lift)
    if isinstance(way, Embedding):
        return list(lifted)  # on the embedded states it is the same
    symbols = [graph.symbol(name) for name in states]
    back = {
        lump: graph.weighted_sum(row, symbols.__getitem__) for lump, row in zip(lumps, way.matrix.rows, strict=True)
    }
    again = graph.substitute(lifted, back)
    values = field_values(graph, [*conditions, *again])
    return [
        node if values[before] == values[after] else None
        for before, node, after in zip(conditions, lifted, again, strict=True)
    ]


def lost_constraints(graph: Graph, lost: Sequence[Constraint], longest: int = 60) -> tuple[Reason, ...]:
    """One reason that names the constraints, by ids and names or else by ``longest`` characters of their formulas."""
    if not lost:
        return ()
    said = [one.description.id or one.description.name for one in lost]
    names = [n or to_text(graph, one.condition, longest) for n, one in zip(said, lost, strict=True)]
    text = f"not kept: constraints on what the reduced model does not have ({numbered_names(names)})"
    return (Reason("not-kept", text),)
