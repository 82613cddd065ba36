"""What a lump means: what its members have in common, in the words of the model.

A statement is made only where it is true of the whole model, not of the members alone: where states outside the lump
share what its members share, it is said how many do. Names are compared as they are written; nobody knows what they
stand for but the modeller.

References
----------
Pérez-Arriaga, Verghese and Schweppe, Selective modal analysis with applications to electric power systems, 1982
(participation factors).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal
from urllib.parse import unquote

from sbmlump.errors import shortened
from sbmlump.linalg.rational import content, solve_rows
from sbmlump.model.domains import nearest_double
from sbmlump.model.reduced import AffineLumping, Embedding, Lump, Meaning, ReducedSystem
from sbmlump.model.system import OdeSystem
from sbmlump.model.text import one_line, short_number
from sbmlump.sbml.annotation import biological_resources
from sbmlump.structure.laws import amount_factors, stoichiometry

__all__ = ["MeaningSettings", "meanings_of", "resource_name", "what_follows", "what_vanished"]


@dataclass(frozen=True, slots=True)
class MeaningSettings:
    """How far meanings are looked for, and how long they become.

    Attributes
    ----------
    states : int
        Of the original, up to which names, annotations and reactions are compared: 4,096 forms of a protein with six
        sites are, and it takes a second.
    lumps : int
        That are looked at in this way; nobody reads more sentences.
    letters : int
        Different letters in the varying part of a name, up to which they are counted: forms of a site are few.
    kinds : int
        Different combinations of such counts.
    partners : int
        Species with which a state reacts, up to which they are compared; what reacts with more is a currency.
    members : int
        That a sentence names.
    parts : int
        States that the name of a coordinate gives with their shares.
    leading : float
        Share from which on a coordinate is called after one state: the larger half.
    features : int
        That are put together to tell the members of a lump from other states: what takes more is a list.
    weight : int
        Up to which integer weights are told: larger ones say nothing to a reader.
    name : int
        Characters of a name in a sentence.
    """

    states: int = 5_000
    lumps: int = 200
    letters: int = 12
    kinds: int = 2_000
    partners: int = 30
    members: int = 4
    parts: int = 3
    leading: float = 0.5
    features: int = 3
    weight: int = 100
    name: int = 60


def meanings_of(reduction: ReducedSystem, settings: MeaningSettings = MeaningSettings()) -> dict[str, Meaning]:
    """What each state of a reduced model means, by its id.

    Parameters
    ----------
    reduction : ReducedSystem
    settings : MeaningSettings

    Returns
    -------
    dict of str to Meaning
        In the order of the states; the same for the same reduction.
    """
    words = _WordsOfStates(reduction, settings)
    labels = Counter[str]()
    found: dict[str, Meaning] = {}
    for position, lump in enumerate(reduction.lumps):
        found[lump.id] = words.meaning(position, lump)
        labels[found[lump.id].label or ""] += 1
    # a label names one state, or it names none
    return {
        name: replace(one, label=None) if one.label is not None and labels[one.label] > 1 else one
        for name, one in found.items()
    }


def what_vanished(reduction: ReducedSystem, settings: MeaningSettings = MeaningSettings()) -> str | None:
    """One sentence on the states that are gone without a trace, ``None`` where there are none."""
    names = reduction.vanished
    if not names:
        return None
    shown = _listed([_shown(reduction.original, name, settings.name) for name in names], settings.members)
    if len(names) == 1:
        return f"One state is left out because it does not influence what is observed: {shown}."
    return f"{len(names)} states are left out because they do not influence what is observed: {shown}."


def what_follows(reduction: ReducedSystem, settings: MeaningSettings = MeaningSettings()) -> str | None:
    """One sentence on the states that formulas of the reduced model give, ``None`` where there are none."""
    names = reduction.given_by_formulas
    if not names:
        return None
    shown = _listed([_shown(reduction.original, name, settings.name) for name in names], settings.members)
    totals = "conservation" in (steps := set(reduction.method.split("+"))) and not steps & {"qssa", "quasi-equilibrium"}
    how = "conserved totals, which are constants of the reduced model" if totals else "formulas"
    if len(names) == 1:
        return f"One state follows from the others by {how}: {shown}."
    return f"{len(names)} states follow from the others by {how}: {shown}."


# -- What can be shared ----------------------------------------------------------------------------


_WILDCARDS: Final = "*?·□"
_WORD: Final = re.compile(r"[^\W_]+")
_RUN: Final = re.compile(r"[^\W\d_]+|\d+")
_MIRIAM: Final = re.compile(r"(?:urn:miriam:|https?://(?:www\.)?identifiers\.org/)([^/:?#]+)[/:](.+)", re.IGNORECASE)
_PREFIXED: Final = re.compile(r"([A-Za-z][\w.]*):(.+)")
_COLLECTIONS: Final = {
    "uniprot": "UniProt",
    "chebi": "ChEBI",
    "obo.chebi": "ChEBI",
    "go": "GO",
    "obo.go": "GO",
    "kegg.compound": "KEGG",
    "reactome": "Reactome",
    "interpro": "InterPro",
    "ensembl": "Ensembl",
    "ncbigene": "NCBI Gene",
    "pr": "Protein Ontology",
}


def resource_name(uri: str) -> str:
    """A resource as people write it, the same for all spellings of its address.

    >>> resource_name("urn:miriam:obo.go:GO%3A0005886"), resource_name("https://identifiers.org/uniprot/P27361")
    ('GO 0005886', 'UniProt P27361')
    """
    match = _MIRIAM.fullmatch(uri.strip())
    if match is None:
        return uri.strip()
    space, item = match[1].lower(), unquote(match[2]).strip("/")
    prefixed = _PREFIXED.fullmatch(item)
    if prefixed is not None and prefixed[1].lower() in (space, space.removeprefix("obo.")):
        item = prefixed[2]
    return f"{_COLLECTIONS.get(space, space)} {item}"


_Kind = Literal["name", "id", "annotation", "compartment", "partner"]
_SAID: Final[Mapping[_Kind, str]] = {
    "name": "with {} in their names",
    "id": "with {} in their ids",
    "annotation": "annotated with {}",
    "compartment": "in {}",
    "partner": "that react with {}",
}
#: Kinds of features by which the members of a lump are told from the other states, tried in turn.
_ATTEMPTS: Final[tuple[tuple[_Kind, ...], ...]] = (
    ("name",),
    ("id",),
    ("annotation",),
    ("compartment",),
    ("partner",),
    ("name", "annotation", "compartment"),
    ("name", "id", "annotation", "compartment", "partner"),
)


@dataclass(frozen=True, slots=True)
class _Feature:
    """Something that a state may have: ``text`` in a sentence with others of its kind, ``label`` alone."""

    kind: _Kind
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class _Texts:
    """One way to call the states: by their names, where they have some, or by their ids."""

    what: Literal["name", "id"]
    of: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Statement:
    """What is said of some states with positive weights.

    Attributes
    ----------
    text : str
        States as ``all 16 states with ids S_U**``; how they are ``counted``, all of it.
    label : str or None
        In a word, where this holds of no other states.
    listing : bool
        Whether it is no more than a list of the states.
    """

    text: str
    label: str | None = None
    listing: bool = False
    counted: bool = False


@dataclass(frozen=True, slots=True)
class _Form:
    """What texts of one length have in common: letters in some places, and those they have in the others.

    At least one word (or number) of them is the same in all: else they are alike by accident.
    """

    fixed: Mapping[int, str]
    varying: Mapping[int, frozenset[str]]

    @classmethod
    def of(cls, texts: Sequence[str], *, whole: bool = False) -> _Form | None:
        """``whole``: words vary as a whole."""
        first = texts[0]
        if any(len(text) != len(first) for text in texts):
            return None
        seen = [frozenset(text[i] for text in texts) for i in range(len(first))]
        runs = [frozenset(match.span() for match in _RUN.finditer(text)) for text in texts]
        words = frozenset.intersection(*runs)
        if all(any(len(seen[i]) > 1 for i in range(*span)) for span in words):
            return None
        varying = {i for i, letters in enumerate(seen) if len(letters) > 1}
        if whole:
            varying |= {i for span in runs[0] if not varying.isdisjoint(range(*span)) for i in range(*span)}
        return cls({i: c for i, c in enumerate(first) if i not in varying}, {i: seen[i] for i in sorted(varying)})

    def fits_around(self, text: str) -> bool:
        """Whether a text has the fixed letters."""
        return len(text) == len(self.fixed) + len(self.varying) and all(text[i] == c for i, c in self.fixed.items())

    def fits(self, text: str) -> bool:
        """Whether a text has the fixed letters, and in other places only letters seen there."""
        return self.fits_around(text) and all(text[i] in letters for i, letters in self.varying.items())

    def letters(self, text: str) -> tuple[str, ...]:
        """In the varying places, sorted."""
        return tuple(sorted(text[i] for i in self.varying))

    def text(self, among: Collection[str] = ()) -> tuple[str, bool]:
        """``S_U**``, with ``[UP]`` where ``among`` others are texts with other letters there; and whether there are."""
        others = [text for text in among if self.fits_around(text)]
        mark = next(mark for mark in _WILDCARDS if mark not in self.fixed.values())
        parts = dict(self.fixed)
        for i, letters in self.varying.items():
            parts[i] = mark if {text[i] for text in others} <= letters else f"[{''.join(sorted(letters))}]"
        if not others:
            parts |= dict.fromkeys(self.varying, mark)
        return "".join(parts[i] for i in sorted(parts)), any(len(part) > 1 for part in parts.values())


class _WordsOfStates:
    """What is known of the states of an original model, and sentences made of it."""

    def __init__(self, reduction: ReducedSystem, settings: MeaningSettings) -> None:
        self.reduction, self.settings = reduction, settings
        self.original = reduction.original
        self.index = self.original.state_index
        self.looks = self.original.size <= settings.states
        self.texts: tuple[_Texts, ...] = ()
        self.features: dict[str, frozenset[_Feature]] = {}
        self.having: dict[_Feature, set[str]] = {}
        self.words: list[dict[str, Counter[str]]] = []
        self._changes: list[dict[int, Fraction]] | None = None
        self._amounts = amount_factors(self.original)
        self._observed = list(_linear_observables(reduction))
        combined = isinstance(reduction.map, Embedding) or any(not lump.is_single for lump in reduction.lumps)
        if self.looks and combined:
            self.texts = tuple(_ways_to_call(self.original))
            self.words = [{state: _words_of(text) for state, text in way.of.items()} for way in self.texts]
            self._collect()
            self._changes = stoichiometry(self.original) if self.original.reactions else None

    def _collect(self) -> None:
        system = self.original
        places = {q.compartment for name in system.states if (q := system.quantities.get(name)) is not None}
        partners = _partners(system, self.settings.partners)
        for state in system.states:
            found: list[_Feature] = []
            for way, words in zip(self.texts, self.words, strict=True):
                found += (_Feature(way.what, f"“{word}”", word) for word in map(self._cut, words[state]))
            quantity = system.quantities.get(state)
            if quantity is not None and quantity.annotation is not None:
                uris = dict.fromkeys(map(resource_name, biological_resources(quantity.annotation)))
                found += (_Feature("annotation", uri, uri) for uri in map(self._cut, uris))
            if quantity is not None and quantity.compartment is not None and len(places) > 1:
                place = _shown(system, quantity.compartment, self.settings.name)
                found.append(_Feature("compartment", place, f"in {place}"))
            for other in sorted(partners.get(state, ())):
                name = _shown(system, other, self.settings.name)
                found.append(_Feature("partner", name, f"partners of {name}"))
            self.features[state] = frozenset(found)
            for feature in found:
                self.having.setdefault(feature, set()).add(state)

    # -- one lump ------------------------------------------------------------------------------------

    def meaning(self, position: int, lump: Lump) -> Meaning:
        """What the state at ``position`` of the reduced system means."""
        way = self.reduction.map
        if isinstance(way, Embedding):
            return self._block(position, lump)
        if isinstance(way, AffineLumping) and not self._is_observed(lump):
            return self._coordinate(position, lump)
        if lump.is_single:
            return Meaning("retained", "A state of the original model.")
        sentences = [self._combination(lump)]
        if self.looks and position < self.settings.lumps:
            sentences += self._more(position, lump)
        first = sentences[0]
        text = " ".join(one.text for one in sentences)
        if len(lump.members) == 1:
            return Meaning("multiple", text)
        negative = any(value < 0 for value in lump.members.values())
        return Meaning("difference" if negative else "sum", text, first.label)

    def _combination(self, lump: Lump) -> _Statement:
        positive = {name: value for name, value in lump.members.items() if value > 0}
        negative = {name: -value for name, value in lump.members.items() if value < 0}
        if not lump.members:
            return _Statement("Nothing of the original model.")
        if len(lump.members) == 1:
            ((name, value),) = lump.members.items()
            times = "Minus" if value == -1 else f"{short_number(value)} times"
            return _Statement(f"{times} {self._name(name)}.")
        if not negative:
            one = self._sum(positive)
            return replace(one, text=f"{_capital(one.text)}.")
        if not positive:
            return _Statement(f"Minus {self._sum(negative).text}.")
        return _Statement(f"Difference: {self._sum(positive).text}, minus {self._sum(negative).text}.")

    def _sum(self, weights: Mapping[str, Fraction]) -> _Statement:
        """Of states with positive weights."""
        if len(weights) == 1:
            ((name, value),) = weights.items()
            return _Statement(self._name(name) if value == 1 else f"{short_number(value)} times {self._name(name)}")
        factor = content(list(weights.values()))
        counts = {name: int(value / factor) for name, value in weights.items()}
        times = "" if factor == 1 else f"{short_number(factor)} times "
        found = self._described(counts) if self.looks else None
        label = None if found is None or factor != 1 else found.label
        if found is not None and found.counted:
            return _Statement(times + found.text, label)
        plain = "the sum of" if set(counts.values()) == {1} else "the weighted sum of"
        told = max(counts.values()) <= self.settings.weight
        names = [self._name(name) if n == 1 or not told else f"{n}·{self._name(name)}" for name, n in counts.items()]
        most = self.settings.members
        if len(names) > most:
            what = f"{len(names)} states: {_listed(names, most)}" if found is None else found.text
            return _Statement(f"{times}{plain} {what}", label)
        note = "" if found is None or found.listing else f" ({found.text})"
        return _Statement(f"{times}{plain} {_listed(names, most)}{note}", label)

    def _described(self, counts: Mapping[str, int]) -> _Statement | None:
        """States and weights in words that hold of them; with a label if of no others."""
        if set(counts.values()) == {1}:
            tried = [one for way in self.texts if (one := self._by_pattern(way, counts)) is not None]
            if tried and not tried[0].listing:
                return tried[0]
            found = self._by_features(counts)
            if tried and (found is None or found.label is None) and len(counts) > self.settings.members:
                return tried[0]
            return found
        letters = (self._by_letters(way, counts) for way in self.texts)
        counted = next((one for one in letters if one is not None), None) or self._by_words(counts)
        if counted is not None:
            return counted
        members = self._by_features(counts)
        return None if members is None else replace(members, label=None)

    # -- names of one form ---------------------------------------------------------------------------

    def _by_pattern(self, way: _Texts, members: Collection[str]) -> _Statement | None:
        """``S_U**``: all states with certain letters in certain places of their names, or in any order there."""
        form = _Form.of([way.of[name] for name in members])
        if form is None:
            return None
        alike = [name for name, text in way.of.items() if form.fits(text)]
        if len(alike) == len(members):
            pattern, listing = form.text(way.of.values())
            label = self._cut(pattern)
            return _Statement(f"{_all_of(len(members))} called {label}", None if listing else label, listing)
        letters = {form.letters(way.of[name]) for name in members}
        if len(letters) > 1:
            return None
        (same,) = letters
        if sum(form.letters(way.of[name]) == same for name in alike) > len(members):
            return None
        pattern, bag = self._cut(form.text()[0]), self._cut(", ".join(same))
        text = f"{_all_of(len(members))} called {pattern} with the letters {bag} in any order"
        return _Statement(text, f"{pattern} of {bag}")

    def _by_letters(self, way: _Texts, counts: Mapping[str, int]) -> _Statement | None:
        """``S_***``, by how often each letter stands in the varying part: sites in one form, counted."""
        form = _Form.of([way.of[name] for name in counts], whole=True)
        if form is None:
            return None
        values: dict[tuple[str, ...], int] = {}
        for name, text in way.of.items():
            if form.fits_around(text):
                value = counts.get(name, 0)
                if values.setdefault(form.letters(text), value) != value:
                    return None
        alphabet = sorted({letter for letters in values for letter in letters})
        if len(alphabet) > self.settings.letters or len(values) > self.settings.kinds:
            return None
        if len(values) <= len(alphabet):
            return None  # some weights of letters fit any coefficients
        rows = [
            {i: Fraction(n) for i, letters in enumerate(values) if (n := letters.count(letter))} for letter in alphabet
        ]
        weights = solve_rows(rows, {i: Fraction(value) for i, value in enumerate(values.values()) if value})
        if weights is None or any(w < 0 or w.denominator != 1 for w in weights):
            return None
        counted = {letter: int(w) for letter, w in zip(alphabet, weights, strict=True) if w}
        pattern = self._cut(form.text()[0])
        which = _joined(list(counted), "or")
        if set(counted.values()) == {1}:
            text = (
                f"the number of {which} in {pattern}, summed over the {len(counts)} states that are called so and have "
                "any"
            )
            return _Statement(text, f"number of {'+'.join(counted)} in {pattern}", counted=True)
        each = _joined([f"{n} for each {letter}" for letter, n in counted.items()])
        text = f"the letters {which} in {pattern}, over the {len(counts)} states called so that have any: {each}"
        return _Statement(text, counted=True)

    def _by_words(self, counts: Mapping[str, int]) -> _Statement | None:
        """By how often a word stands in the names."""
        for way, words in zip(self.texts, self.words, strict=True):
            for word in sorted(set.intersection(*(set(words[name]) for name in counts))):
                if all(found[word] == counts.get(name, 0) for name, found in words.items()):
                    having = f"summed over {_all_of(len(counts))} that have any"
                    text = f"the number of “{self._cut(word)}” in the {way.what}s, {having}"
                    return _Statement(text, f"number of {self._cut(word)}", counted=True)
        return None

    # -- features ------------------------------------------------------------------------------------

    def _by_features(self, members: Collection[str]) -> _Statement | None:
        """By words, annotations, compartments and partners in reactions that all members have."""
        shared = frozenset.intersection(*(self.features[name] for name in members))
        extent, used = set(self.original.states), list[_Feature]()
        for kinds in _ATTEMPTS:
            found = self._narrowed([one for one in shared if one.kind in kinds])
            if len(found[0]) < len(extent):
                extent, used = found
            if len(extent) == len(members):
                break
        if len(members) == self.original.size:
            return _Statement(f"{_all_of(len(members))} of the model", "all states")
        # what most states have tells nothing of those that were lumped
        if not used or (len(extent) > len(members) and 2 * len(extent) > self.original.size):
            return None
        said = _said(used)
        if len(extent) == len(members):
            return _Statement(f"{_all_of(len(members))} {said}", ", ".join(one.label for one in used))
        return _Statement(f"{len(members)} of the {len(extent)} states {said}")

    def _narrowed(self, features: Collection[_Feature]) -> tuple[set[str], list[_Feature]]:
        """The states that have all features, by as few of these as a greedy search takes."""
        extent = set(self.original.states)
        used: list[_Feature] = []
        left = sorted(features, key=lambda one: (one.kind, -len(one.label), one.label))
        while left and len(used) < self.settings.features:
            best = min(left, key=lambda one: len(extent & self.having[one]))
            smaller = extent & self.having[best]
            if len(smaller) == len(extent):
                break
            extent = smaller
            used.append(best)
            left.remove(best)
        return extent, sorted(used, key=lambda one: _ATTEMPTS[-1].index(one.kind))

    # -- what else is true ---------------------------------------------------------------------------

    def _more(self, position: int, lump: Lump) -> Iterator[_Statement]:
        system = self.reduction.system
        inner = self._inner_reactions(lump)
        if inner:
            many = "One reaction turns" if inner == 1 else f"{inner} reactions turn"
            yield _Statement(f"{many} its members into one another and {'does' if inner == 1 else 'do'} not change it.")
        if position < system.size and system.graph.number_of(system.rhs[position]) == 0:
            yield _Statement("It does not change in time.")

    def _inner_reactions(self, lump: Lump) -> int:
        """Reactions that change at least two members and leave the lump as it is."""
        if self._changes is None or len(lump.members) < 2:
            return 0
        columns = [self.index[name] for name in lump.members]
        if len({self._amounts[j] for j in columns}) > 1:  # a sum of concentrations that is no amount
            return 0
        total: dict[int, Fraction] = {}
        touching = Counter[int]()
        for j, value in zip(columns, lump.members.values(), strict=True):
            for reaction, amount in self._changes[j].items():
                total[reaction] = total.get(reaction, Fraction(0)) + value * amount
                touching[reaction] += 1
        return sum(not total[reaction] and many > 1 for reaction, many in touching.items())

    # -- other maps ----------------------------------------------------------------------------------

    def _block(self, position: int, lump: Lump) -> Meaning:
        """Of an embedding: one value that several states have."""
        states = self.original.states
        block = [states[j] for j in sorted(self.reduction.map.lift.rows[position])]
        if len(block) < 2:
            return Meaning("retained", "A state of the original model.")
        found = self._described(dict.fromkeys(block, 1)) if self.looks else None
        names = _listed([self._name(name) for name in block], self.settings.members)
        which = "" if found is None or found.label is None else f" ({found.text.removeprefix('the sum of ')})"
        return Meaning("block", f"One value that {len(block)} states have at all times{which}: {names}.")

    def _is_observed(self, lump: Lump) -> bool:
        """Whether a state of an approximate reduction is what is observed."""
        return lump.is_single or dict(lump.members) in self._observed

    def _coordinate(self, position: int, lump: Lump) -> Meaning:
        """Of an approximate reduction: no species, but some carry most of it.

        The share of state j in coordinate i is |L_ij L̄_ji|, of their sum over j: L L̄ = I makes the L_ij L̄_ji sum to
        1, and units of the states do not matter.
        """
        lift = self.reduction.map.lift.rows[position]
        states = self.original.states
        shares = {
            name: abs(nearest_double(value) * nearest_double(lift[self.index[name]]))
            for name, value in lump.members.items()
            if self.index[name] in lift
        }
        whole = sum(shares.values())
        ranked = sorted(shares.items(), key=lambda item: (-item[1], states.index(item[0]))) if whole else []
        parts = [(self._name(name), share / whole) for name, share in ranked[: self.settings.parts] if share > 0]
        if not parts:
            return Meaning("coordinate", "A coordinate, not a species: a combination of states of the original model.")
        listed = ", ".join(f"{name} {_percent(share)}" for name, share in parts)
        rest = 1 - sum(share for _, share in parts)
        others = f", {len(ranked) - len(parts)} others {_percent(rest)}" if len(ranked) > len(parts) else ""
        text = f"A coordinate, not a species; shares of the original states in it: {listed}{others}."
        first, share = parts[0]
        if share >= self.settings.leading:
            return Meaning("coordinate", text, f"mostly {first} ({_percent(share)})")
        return Meaning("coordinate", text, "mix of " + ", ".join(f"{name} ({_percent(part)})" for name, part in parts))

    # -- text ----------------------------------------------------------------------------------------

    def _name(self, state: str) -> str:
        return _shown(self.original, state, self.settings.name)

    def _cut(self, text: str) -> str:
        return shortened(one_line(text), self.settings.name)


def _words_of(text: str) -> Counter[str]:
    return Counter(word for word in _WORD.findall(text) if not word.isdigit())


def _ways_to_call(system: OdeSystem) -> Iterator[_Texts]:
    """By names, the id where a state has none; by ids where these are no names."""
    quantities = {state: system.quantities.get(state) for state in system.states}
    names = {state: one_line(q.name) if q is not None and q.name else state for state, q in quantities.items()}
    named = any(name != state for state, name in names.items())
    yield _Texts("name" if named else "id", names)
    if named and len(set(names.values())) < len(names):  # names that do not tell the states apart
        yield _Texts("id", {state: state for state in names})


def _partners(system: OdeSystem, most: int) -> dict[str, set[str]]:
    """Species that stand with a state on one side of a reaction, or act on it; none with more than ``most`` of them."""
    found: dict[str, set[str]] = {}
    states = set(system.states)
    for reaction in system.reactions:
        for side in (reaction.reactants, reaction.products):
            together = {one.species for one in side}
            for name in together & states:
                found.setdefault(name, set()).update((together - {name}) | set(reaction.modifiers) - together)
    met = Counter(other for others in found.values() for other in others)
    return {name: {other for other in others if met[other] <= most} for name, others in found.items()}


def _linear_observables(reduction: ReducedSystem) -> Iterator[dict[str, Fraction]]:
    graph = reduction.original.graph
    for one in reduction.observables:
        terms = graph.linear_terms(one.expression)
        if all(reduction.original.is_symbol(term) for term in terms):
            yield {graph.name(term): value for term, value in terms.items()}


def _shown(system: OdeSystem, name: str, most: int) -> str:
    """Name of an element where it has one, else its id, on one line."""
    quantity = system.quantities.get(name)
    text = shortened(one_line(quantity.name if quantity is not None and quantity.name else name), most)
    return f"“{text}”" if re.search(r"[\s,;“”]", text) else text


def _said(features: Sequence[_Feature]) -> str:
    """What follows "states": features of one kind together."""
    kinds = dict.fromkeys(one.kind for one in features)
    return " and ".join(
        _SAID[kind].format(_joined([one.text for one in features if one.kind == kind])) for kind in kinds
    )


def _listed(names: Sequence[str], most: int) -> str:
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return _joined(names)


def _joined(texts: Sequence[str], last: str = "and") -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {last} {texts[-1]}"


def _all_of(count: int) -> str:
    return "both states" if count == 2 else f"all {count} states"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
