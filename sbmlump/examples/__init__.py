"""Models built in Python: the examples of the documentation, and families of any size for tests and benchmarks.

They are put straight on a :class:`~sbmlump.model.graph.Graph`, without a file. ``data/make_models.py`` writes the
same models as SBML, independently of this module, so that one can be tested against the other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from types import MappingProxyType
from typing import Final

from sbmlump.model.graph import Graph, Node
from sbmlump.model.system import Constant, OdeSystem, Origin, Participant, Quantity, Reaction

__all__ = [
    "MULTISITE_INITIAL",
    "MULTISITE_RATES",
    "clue_example",
    "michaelis_menten",
    "multisite",
    "network_from_reactions",
    "rational_example",
    "ring",
    "sir_age_groups",
    "squares_example",
    "species_in_cell",
]


# -- Multisite phosphorylation ---------------------------------------------------------------------

# Multisite phosphorylation: a family of mass-action models of any size that all reduce to six states.


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


# -- Models built in Python: the examples of the documentation -------------------------------------


Value = Fraction | int

_ORIGIN: Final = Origin(format="python")
_EQUATION: Final = re.compile(r"^(?P<left>.*)->(?P<right>.*)$")
_TERM: Final = re.compile(r"^(?:(?P<count>\d+)\s*\*?\s*)?(?P<species>[A-Za-z_]\w*)$")


def sir_age_groups(
    groups: int = 3, *, infection: Value = Fraction(3, 1000), recovery: Value = Fraction(1, 5)
) -> OdeSystem:
    """Susceptible, infected and recovered people in age groups that mix evenly: the sums over the groups close.

    S_i' = -beta·S_i·(I_1 + … + I_g), I_i' = beta·S_i·(I_1 + … + I_g) - gamma·I_i, R_i' = gamma·I_i.

    Parameters
    ----------
    groups : int
        Number of age groups g ≥ 1; 3·g states ``S_1 … R_g``, in persons.
    infection, recovery : Fraction or int
        beta in 1/(person·day) and gamma in 1/day.
    """
    if groups < 1:
        raise ValueError(f"at least one age group is needed, got {groups}")
    numbers = range(1, groups + 1)
    graph = Graph()
    states = tuple(f"{kind}_{i}" for kind in "SIR" for i in numbers)
    symbol = {name: graph.symbol(name) for name in states}
    beta, gamma = graph.symbol("beta"), graph.symbol("gamma")
    pressure = graph.mul((beta, graph.add(symbol[f"I_{i}"] for i in numbers)))
    catching = [graph.mul((pressure, symbol[f"S_{i}"])) for i in numbers]
    healing = [graph.mul((gamma, symbol[f"I_{i}"])) for i in numbers]
    rhs = [graph.neg(flux) for flux in catching]
    rhs += [graph.sub(c, h) for c, h in zip(catching, healing, strict=True)]
    rhs += healing
    start = [Fraction(100 + 20 * (i % 3)) for i in numbers]
    start += [Fraction(1 if i == 1 else 0) for i in numbers] + [Fraction(0)] * groups
    return OdeSystem(
        graph=graph,
        states=states,
        initial=tuple(map(graph.number, start)),
        rhs=tuple(rhs),
        constants=(Constant("beta", graph.number(infection)), Constant("gamma", graph.number(recovery))),
        id="sir_age_groups",
        name=f"Epidemic in {groups} age groups that mix evenly",
        origin=_ORIGIN,
    )


def ring(size: int = 4, *, forward: Value = 1, backward: Value = 1) -> OdeSystem:
    """A ring of species, X_1 ⇌ X_2 ⇌ … ⇌ X_1, the rate constants being the same all around.

    With equal rates forward and backward it is detailed balanced, and the sums of neighbours X_1 + X_2, X_2 + X_3,
    X_3 + X_4 of four species are a lumping.

    Parameters
    ----------
    size : int
        Number of species, at least 3.
    forward, backward : Fraction or int
        kf and kb, in 1/time.
    """
    if size < 3:
        raise ValueError(f"a ring has at least three members, got {size}")
    names = [f"X_{i + 1}" for i in range(size)]
    around = list(zip(names, [*names[1:], names[0]], strict=True))
    steps = [(f"{a} -> {b}", "kf") for a, b in around] + [(f"{b} -> {a}", "kb") for a, b in around]
    start = {name: Fraction(8 if i == 0 else i) for i, name in enumerate(names)}
    return network_from_reactions(
        steps, initial=start, constants={"kf": forward, "kb": backward}, id="ring", name=f"Ring of {size} species"
    )


def michaelis_menten() -> OdeSystem:
    """An enzyme at work: E + S ⇌ ES → E + P with mass action."""
    return network_from_reactions(
        [("E + S -> ES", "k1"), ("ES -> E + S", "k1r"), ("ES -> E + P", "k2")],
        initial={"E": Fraction(1), "S": Fraction(10), "ES": Fraction(0), "P": Fraction(0)},
        constants={"k1": Fraction(2), "k1r": Fraction(1), "k2": Fraction(3, 2)},
        id="michaelis_menten",
        name="Enzyme reaction",
    )


def clue_example() -> OdeSystem:
    """Polynomial, three states: x1' = x2² + 4·x2·x3 + 4·x3², x2' = 4·x3 - 2·x1, x3' = x1 + x2.

    Observing x1, the smallest lumping is {x1, x2 + 2·x3}. The states start where x1 stays finite up to time 1.
    """
    graph = Graph()
    x1, x2, x3 = map(graph.symbol, ("x1", "x2", "x3"))
    two, four = graph.number(2), graph.number(4)
    first = graph.add((graph.pow(x2, two), graph.mul((four, x2, x3)), graph.mul((four, graph.pow(x3, two)))))
    second = graph.sub(graph.mul((four, x3)), graph.mul((two, x1)))
    rhs = (first, second, graph.add((x1, x2)))
    return _small(graph, rhs, (Fraction(1, 10), Fraction(1, 5), Fraction(1, 10)), "clue_example")


def squares_example() -> OdeSystem:
    """Two squares: x1' = (x2 + x3)² + (x2 + x4)², all other rates 0. Observing x1, 4 states become 3."""
    graph = Graph()
    _, x2, x3, x4 = map(graph.symbol, ("x1", "x2", "x3", "x4"))
    two, zero = graph.number(2), graph.number(0)
    first = graph.add((graph.pow(graph.add((x2, x3)), two), graph.pow(graph.add((x2, x4)), two)))
    return _small(graph, (first, zero, zero, zero), (Fraction(0), *map(Fraction, (1, 2, 3))), "squares_example")


def rational_example() -> OdeSystem:
    """Rational, three states. Observing x1, the smallest lumping is {x1, x2 + 2·x3}.

    x1' = (x2 + 2·x3)²/(x1² + 1), x2' = (2·x1 - 4·x3)/(x2 + 2·x3 + 1), x3' = (-x1 - x2)/(x2 + 2·x3 + 1).
    """
    graph = Graph()
    x1, x2, x3 = map(graph.symbol, ("x1", "x2", "x3"))
    one, two, four = map(graph.number, (1, 2, 4))
    pool = graph.add((x2, graph.mul((two, x3))))
    below = graph.add((pool, one))
    rhs = (
        graph.div(graph.pow(pool, two), graph.add((graph.pow(x1, two), one))),
        graph.div(graph.sub(graph.mul((two, x1)), graph.mul((four, x3))), below),
        graph.div(graph.neg(graph.add((x1, x2))), below),
    )
    return _small(graph, rhs, (Fraction(1, 2), Fraction(2), Fraction(1)), "rational_example")


def network_from_reactions(
    reactions: Sequence[tuple[str, str | Value]],
    *,
    initial: Mapping[str, Value],
    constants: Mapping[str, Value] | None = None,
    id: str = "network",
    name: str | None = None,
) -> OdeSystem:
    """A mass-action network.

    Parameters
    ----------
    reactions : sequence of (equation, rate)
        An equation such as ``"2 A + B -> C"``, ``"-> A"`` or ``"A ->"``; the rate is the id of a constant or a number.
        The flux is the rate times the product of the reactants, each as often as it takes part. Reactions get
        the ids ``r1``, ``r2``, ….
    initial : mapping of str to Fraction or int
        Amount of every species at time 0; its order is the order of the states.
    constants : mapping of str to Fraction or int
        Values of the rate constants.

    Raises
    ------
    ValueError
        If an equation cannot be read, or names a species or constant that is not given.
    """
    graph = Graph()
    constants = constants or {}
    rates: dict[str, list[Node]] = {species: [] for species in initial}
    made: list[Reaction] = []
    for number, (equation, rate) in enumerate(reactions, start=1):
        left, right = _sides(equation)
        unknown = sorted({*left, *right} - set(initial)) + [rate] * (isinstance(rate, str) and rate not in constants)
        if unknown:
            raise ValueError(f"reaction {number} ({equation}): no value is given for {', '.join(map(str, unknown))}")
        factors = [graph.symbol(rate) if isinstance(rate, str) else graph.number(rate)]
        factors += [graph.pow(graph.symbol(s), graph.number(count)) for s, count in left.items()]
        flux = graph.mul(factors)
        for species in dict.fromkeys((*left, *right)):
            change = right.get(species, 0) - left.get(species, 0)
            rates[species].append(graph.scaled(change, flux))
        made.append(
            Reaction(f"r{number}", flux, _participants(graph, left), _participants(graph, right), reversible=False)
        )
    return OdeSystem(
        graph=graph,
        states=tuple(initial),
        initial=tuple(graph.number(value) for value in initial.values()),
        rhs=tuple(graph.add(terms) for terms in rates.values()),
        constants=(
            *(Constant(c, graph.number(value)) for c, value in constants.items()),
            Constant("cell", graph.number(1)),
        ),
        reactions=tuple(made),
        id=id,
        name=name,
        quantities=species_in_cell(initial, constants),
        origin=_ORIGIN,
    )


def _small(graph: Graph, rhs: tuple[Node, ...], start: Sequence[Fraction], id: str) -> OdeSystem:
    """A system without constants whose states are called x1, x2, …."""
    return OdeSystem(
        graph=graph,
        states=tuple(f"x{i + 1}" for i in range(len(rhs))),
        initial=tuple(map(graph.number, start)),
        rhs=rhs,
        id=id,
        origin=_ORIGIN,
    )


def _sides(equation: str) -> tuple[dict[str, int], dict[str, int]]:
    """Species and counts on both sides of an equation."""
    match = _EQUATION.match(equation)
    if match is None:
        raise ValueError(f"{equation!r} is not an equation; write it as 'A + 2 B -> C'")
    sides: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for text, side in zip(match.groups(), sides, strict=True):
        for term in map(str.strip, text.split("+") if text.strip() else ()):
            found = _TERM.match(term)
            if found is None:
                raise ValueError(f"{term!r} in {equation!r} is not a species with a whole number before it")
            side[found["species"]] = side.get(found["species"], 0) + int(found["count"] or 1)
    return sides


def _participants(graph: Graph, side: Mapping[str, int]) -> tuple[Participant, ...]:
    return tuple(Participant(species, graph.number(count)) for species, count in side.items())
