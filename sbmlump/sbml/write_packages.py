"""What packages that change nothing in the mathematics (layout, groups, fbc) say of what is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from sbmlump.errors import Reason
from sbmlump.sbml.write_xml import Tag, attributes, tags_of
from sbmlump.system import Key, Package

__all__ = ["PackageWriter"]

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
