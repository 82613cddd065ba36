"""Multisite phosphorylation: a family of mass-action models of any size that all reduce to six states."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from types import MappingProxyType
from typing import Final

from sbmlump.model.graph import Graph, Node
from sbmlump.model.system import Constant, OdeSystem, Origin, Participant, Quantity, Reaction

__all__ = ["MULTISITE_INITIAL", "MULTISITE_RATES", "multisite", "species_in_cell"]


MULTISITE_RATES: Final[Mapping[str, Fraction]] = MappingProxyType(
    {
        "a1": Fraction(2),
        "d1": Fraction(1, 2),
        "c1": Fraction(1),
        "a2": Fraction(3, 2),
        "d2": Fraction(1, 2),
        "c2": Fraction(4, 5),
    }
)
"""Binding, release and catalysis of kinase (1) and phosphatase (2), in 1/time; a1 and a2 in 1/(amount·time)."""

MULTISITE_INITIAL: Final[Mapping[str, Fraction]] = MappingProxyType(
    {"substrate": Fraction(4), "kinase": Fraction(2), "phosphatase": Fraction(1)}
)
"""Amounts at time 0; the substrate is unphosphorylated at every site."""

_STEPS: Final = (
    # constant, site before, site after, enzyme taken up, enzyme set free
    ("a1", "U", "E", "kinase", None),
    ("d1", "E", "U", None, "kinase"),
    ("c1", "E", "P", None, "kinase"),
    ("a2", "P", "F", "phosphatase", None),
    ("d2", "F", "P", None, "phosphatase"),
    ("c2", "F", "U", None, "phosphatase"),
)
_DIGIT: Final = {"U": 0, "P": 1, "E": 2, "F": 3}


def multisite(
    sites: int,
    *,
    rates: Mapping[str, Fraction | int] | None = None,
    initial: Mapping[str, Fraction | int] | None = None,
    noise: Fraction | int | None = None,
    seed: int = 0,
    with_reactions: bool = False,
) -> OdeSystem:
    """One substrate with identical, independent phosphorylation sites, a kinase and a phosphatase.

    Each site is ``U`` (unphosphorylated), ``P`` (phosphorylated), ``E`` (U bound to the kinase) or ``F`` (P bound to
    the phosphatase). The state ``S_UPEF`` is the configuration with its first site U, its second P, and so on. For
    every configuration and site: U + kinase ⇌ E (a1, d1), E → P + kinase (c1), P + phosphatase ⇌ F (a2, d2),
    F → U + phosphatase (c2).

    Parameters
    ----------
    sites : int
        Number of sites m ≥ 1. There are 4^m + 2 states and 6·m·4^(m-1) reactions.
    rates : mapping of str to Fraction or int, optional
        Replaces some of :data:`MULTISITE_RATES`.
    initial : mapping of str to Fraction or int, optional
        Replaces some of :data:`MULTISITE_INITIAL` (``substrate``, ``kinase``, ``phosphatase``).
    noise : Fraction or int, optional
        Each reaction's rate is multiplied by its own factor, drawn uniformly from 1 ± `noise` and rounded to
        four decimals, so that nothing is exactly symmetric any more.
    seed : int
        For `noise`.
    with_reactions : bool
        Fill ``reactions`` (ids ``a1_S_UU_1``: constant, configuration before, site from 1) and say that the
        states are species in amounts in a compartment ``cell``.

    Returns
    -------
    OdeSystem
        States are the 4^m configurations in the order of the letters U, P, E, F, then ``kinase`` and
        ``phosphatase``; constants a1, d1, c1, a2, d2, c2.

    Raises
    ------
    ValueError
        If `sites` < 1, `noise` is not in [0, 1), or a name in `rates` or `initial` is unknown.
    """
    if sites < 1:
        raise ValueError(f"a substrate needs at least one site, got {sites}")
    if noise is not None and not 0 <= noise < 1:
        raise ValueError(f"noise must lie in [0, 1), got {noise}")
    values = _replaced(MULTISITE_RATES, rates, "rate")
    amounts = _replaced(MULTISITE_INITIAL, initial, "initial amount")
    graph = Graph()
    letters = ["".join(word) for word in product("UPEF", repeat=sites)]
    configurations = [f"S_{word}" for word in letters]
    builder = _Multisite(graph, sites, letters, configurations)
    fluxes: dict[tuple[int, int, int], Node] = {}
    if noise is None:
        rhs = builder.symmetric()
    else:
        rhs, fluxes = builder.noisy(Fraction(noise), seed)
    zero = graph.number(0)
    start = [graph.number(amounts["substrate"]), *([zero] * (len(letters) - 1))]
    start += [graph.number(amounts["kinase"]), graph.number(amounts["phosphatase"])]
    states = (*configurations, "kinase", "phosphatase")
    given = [Constant(name, graph.number(value)) for name, value in values.items()]
    return OdeSystem(
        graph=graph,
        states=states,
        initial=tuple(start),
        rhs=tuple(rhs),
        constants=(*given, Constant("cell", graph.number(1))) if with_reactions else tuple(given),
        reactions=builder.reactions(fluxes) if with_reactions else (),
        id=f"multisite_{sites}",
        name=f"Phosphorylation at {sites} identical site{'s' if sites > 1 else ''}",
        quantities=species_in_cell(states, values) if with_reactions else {},
        origin=Origin(format="python"),
    )


class _Multisite:
    """Makes fluxes, right-hand sides and reactions of :func:`multisite`.

    A configuration is a number to the base 4, one digit a site, so that a step at a site is an addition. A flux
    without noise does not depend on the site, so it is one node for all of them: that keeps 8 sites (786,432
    reactions) a matter of seconds.
    """

    def __init__(self, graph: Graph, sites: int, letters: Sequence[str], names: Sequence[str]) -> None:
        self.graph = graph
        self.letters = letters
        self.names = names
        self.places = [4 ** (sites - 1 - i) for i in range(sites)]
        symbols = [graph.symbol(name) for name in names]
        enzymes = {name: graph.symbol(name) for name in ("kinase", "phosphatase")}
        #: Flux of each step out of each configuration, without regard to the site; absent where it cannot happen.
        self.fluxes: list[list[Node]] = []
        for constant, before, _, taken, _ in _STEPS:
            leading = (graph.symbol(constant),) + ((enzymes[taken],) if taken else ())
            self.fluxes.append(
                [graph.mul((*leading, x)) if before in word else -1 for word, x in zip(letters, symbols, strict=True)]
            )

    def symmetric(self) -> list[Node]:
        """Right-hand sides when all sites are alike: equal terms are counted, not repeated."""
        graph, mul, add = self.graph, self.graph.mul, self.graph.add
        counts = [graph.number(n) for n in range(len(self.places) + 1)]
        losses = [graph.number(-n) for n in range(len(self.places) + 1)]
        sources = _sources()
        leaving = {letter: [k for k, step in enumerate(_STEPS) if step[1] == letter] for letter in "UPEF"}
        rhs: list[Node] = []
        enzymes: dict[str, list[Node]] = {"kinase": [], "phosphatase": []}
        for c, word in enumerate(self.letters):
            terms = [
                self.fluxes[k][c + shift * place]
                for letter, place in zip(word, self.places, strict=True)
                for k, shift in sources[letter]
            ]
            for letter in "UPEF":
                n = word.count(letter)
                if not n:
                    continue
                for k in leaving[letter]:
                    flux = self.fluxes[k][c]
                    loss = mul((losses[n], flux))
                    terms.append(loss)
                    _, _, _, taken, freed = _STEPS[k]
                    if taken:
                        enzymes[taken].append(loss)
                    elif freed:
                        enzymes[freed].append(flux if n == 1 else mul((counts[n], flux)))
            rhs.append(add(terms))
        return [*rhs, add(enzymes["kinase"]), add(enzymes["phosphatase"])]

    def noisy(self, noise: Fraction, seed: int) -> tuple[list[Node], dict[tuple[int, int, int], Node]]:
        """Right-hand sides when every reaction has its own factor, and the flux of each (step, configuration, site)."""
        graph, draw = self.graph, random.Random(seed)
        terms: list[list[Node]] = [[] for _ in self.names]
        enzymes: dict[str, list[Node]] = {"kinase": [], "phosphatase": []}
        fluxes: dict[tuple[int, int, int], Node] = {}
        for k, c, site, target in self.steps():
            factor = 1 + noise * Fraction(draw.randint(-10_000, 10_000), 10_000)
            flux = graph.scaled(round(factor, 4), self.fluxes[k][c])
            fluxes[k, c, site] = flux
            loss = graph.neg(flux)
            terms[c].append(loss)
            terms[target].append(flux)
            _, _, _, taken, freed = _STEPS[k]
            if taken:
                enzymes[taken].append(loss)
            elif freed:
                enzymes[freed].append(flux)
        rhs = [graph.add(each) for each in terms]
        return [*rhs, graph.add(enzymes["kinase"]), graph.add(enzymes["phosphatase"])], fluxes

    def steps(self) -> Iterator[tuple[int, int, int, int]]:
        """Every reaction as (step, configuration before, site, configuration after)."""
        for c, word in enumerate(self.letters):
            for site, (letter, place) in enumerate(zip(word, self.places, strict=True)):
                for k, (_, before, after, _, _) in enumerate(_STEPS):
                    if letter == before:
                        yield k, c, site, c + (_DIGIT[after] - _DIGIT[before]) * place

    def reactions(self, noisy: Mapping[tuple[int, int, int], Node]) -> tuple[Reaction, ...]:
        """Every reaction, with its own flux where there is noise."""
        one = self.graph.number(1)
        part = {name: Participant(name, one) for name in (*self.names, "kinase", "phosphatase")}
        made = []
        for k, c, site, target in self.steps():
            constant, _, _, taken, freed = _STEPS[k]
            made.append(
                Reaction(
                    id=f"{constant}_{self.names[c]}_{site + 1}",
                    flux=noisy.get((k, c, site), self.fluxes[k][c]),
                    reactants=(part[self.names[c]], part[taken]) if taken else (part[self.names[c]],),
                    products=(part[self.names[target]], part[freed]) if freed else (part[self.names[target]],),
                    reversible=False,
                )
            )
        return tuple(made)


def _sources() -> dict[str, list[tuple[int, int]]]:
    """For each letter, the steps that end in it, with the shift of the digit back to where they start."""
    table: dict[str, list[tuple[int, int]]] = {letter: [] for letter in "UPEF"}
    for k, (_, before, after, _, _) in enumerate(_STEPS):
        table[after].append((k, _DIGIT[before] - _DIGIT[after]))
    return table


def _replaced(
    defaults: Mapping[str, Fraction], given: Mapping[str, Fraction | int] | None, what: str
) -> dict[str, Fraction]:
    """`defaults` with some values replaced, unknown names refused."""
    unknown = sorted(set(given or ()) - set(defaults))
    if unknown:
        raise ValueError(f"unknown {what} {', '.join(unknown)}; known are {', '.join(defaults)}")
    return {name: Fraction((given or {}).get(name, value)) for name, value in defaults.items()}


def species_in_cell(species: Iterable[str], parameters: Iterable[str]) -> dict[str, Quantity]:
    """Species in amounts in the compartment ``cell``; as amounts, the size of the cell is in no equation."""
    table = {name: Quantity(name, "species", compartment="cell", amount=True, given_as_amount=True) for name in species}
    table.update((name, Quantity(name, "parameter", written_constant=True)) for name in parameters)
    table["cell"] = Quantity("cell", "compartment", written_constant=True, spatial_dimensions=3.0)
    return table
