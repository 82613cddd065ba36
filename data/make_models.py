"""Write the project's own models as SBML Level 3 Version 2.

Everything here is plain text put together by hand, on purpose: these files are inputs of the tests of the reader and
the writer, so they must come out of neither. ``sbmlump.examples`` builds the same systems in Python.

    python data/make_models.py                    the files that are committed (data/ and sbmlump/data_models/)
    python data/make_models.py -o DIR --sites 5 6 larger multisite models (7,680 and 36,864 reactions), for benchmarks
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
BUNDLED = HERE.parent / "sbmlump" / "data_models"

Math = str | int | float | tuple  # an id, a number, or (operator, argument, …)
STEPS = (
    # constant, site before, site after, enzyme taken up, enzyme set free
    ("a1", "U", "E", "kinase", None),
    ("d1", "E", "U", None, "kinase"),
    ("c1", "E", "P", None, "kinase"),
    ("a2", "P", "F", "phosphatase", None),
    ("d2", "F", "P", None, "phosphatase"),
    ("c2", "F", "U", None, "phosphatase"),
)
RATES = {"a1": 2, "d1": 0.5, "c1": 1, "a2": 1.5, "d2": 0.5, "c2": 0.8}
AMOUNTS_UNITS = """\
    <listOfUnitDefinitions>
      <unitDefinition id="umol"><listOfUnits>
        <unit kind="mole" exponent="1" scale="-6" multiplier="1"/>
      </listOfUnits></unitDefinition>
      <unitDefinition id="per_s"><listOfUnits>
        <unit kind="second" exponent="-1" scale="0" multiplier="1"/>
      </listOfUnits></unitDefinition>
      <unitDefinition id="per_umol_per_s"><listOfUnits>
        <unit kind="mole" exponent="-1" scale="-6" multiplier="1"/>
        <unit kind="second" exponent="-1" scale="0" multiplier="1"/>
      </listOfUnits></unitDefinition>
    </listOfUnitDefinitions>
"""
CONCENTRATION_UNITS = AMOUNTS_UNITS.replace("per_umol_per_s", "litre_per_umol_per_s").replace(
    '        <unit kind="mole" exponent="-1"',
    '        <unit kind="litre" exponent="1" scale="0" multiplier="1"/>\n        <unit kind="mole" exponent="-1"',
)
PEOPLE_UNITS = """\
    <listOfUnitDefinitions>
      <unitDefinition id="day"><listOfUnits>
        <unit kind="second" exponent="1" scale="0" multiplier="86400"/>
      </listOfUnits></unitDefinition>
      <unitDefinition id="per_day"><listOfUnits>
        <unit kind="second" exponent="-1" scale="0" multiplier="86400"/>
      </listOfUnits></unitDefinition>
      <unitDefinition id="per_person_per_day"><listOfUnits>
        <unit kind="item" exponent="-1" scale="0" multiplier="1"/>
        <unit kind="second" exponent="-1" scale="0" multiplier="86400"/>
      </listOfUnits></unitDefinition>
    </listOfUnitDefinitions>
"""


def main() -> None:
    """Write what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="folder (default: data/, and the bundled model)")
    parser.add_argument("--sites", type=int, nargs="*", help="write only these multisite models")
    given = parser.parse_args()
    folder = given.output or HERE
    folder.mkdir(parents=True, exist_ok=True)
    sizes = given.sites if given.sites is not None else [1, 2, 3, 4]
    for sites in sizes:
        write(folder / f"multisite_{sites}.xml", multisite(sites))
    if given.sites is None:
        for name, text in small_models().items():
            write(folder / f"{name}.xml", text)
        for name, text in tutorial_models().items():
            (folder / name).parent.mkdir(exist_ok=True)
            write(folder / name, text)
        if given.output is None:
            BUNDLED.mkdir(exist_ok=True)
            write(BUNDLED / "multisite_3.xml", multisite(3))


def write(path: Path, text: str) -> None:
    """Write one file, with the same bytes on every platform."""
    path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{path}: {len(text.encode()):,} bytes")


def small_models() -> dict[str, str]:
    """Texts of all models but the multisite ones."""
    return {
        "clue_example": clue_example(),
        "michaelis_menten": michaelis_menten(),
        "rational_example": rational_example(),
        "ring": ring(),
        "sir_age_groups": sir_age_groups(),
        "squares_example": squares_example(),
    }


def tutorial_models() -> dict[str, str]:
    """Texts of the models of the tutorials, by the names of their files."""
    return {"tutorials/receptor.xml": receptor(), "tutorials/scaffold.net": scaffold()}


# -- the models ------------------------------------------------------------------------------------------------------


def multisite(sites: int) -> str:
    """One substrate with identical sites, each U, P, E (U bound to the kinase) or F (P bound to the phosphatase)."""
    words = ["".join(word) for word in product("UPEF", repeat=sites)]
    pools = [species(f"S_{word}", 4 if word == "U" * sites else 0) for word in words]
    pools += [species("kinase", 2, name="free kinase"), species("phosphatase", 1, name="free phosphatase")]
    parameters = [
        parameter(name, value, "per_umol_per_s" if name.startswith("a") else "per_s") for name, value in RATES.items()
    ]
    title = f"Phosphorylation at {sites} identical site{'s' if sites > 1 else ''}"
    notes = (
        "Every site of the substrate is U (unphosphorylated), P (phosphorylated), E (U bound to the kinase) or F (P "
        "bound to the phosphatase); S_UPE has its first site U, its second P, its third E. The sites do not "
        "influence each other: 6 variables are enough to follow the free kinase."
    )
    return model(
        f"multisite_{sites}",
        title,
        notes,
        AMOUNTS_UNITS,
        [compartment()],
        pools,
        parameters,
        multisite_reactions(words),
    )


def multisite_reactions(words: Sequence[str]) -> Iterator[str]:
    """Binding, release and catalysis at every site of every configuration."""
    for word in words:
        for site, letter in enumerate(word):
            for constant, before, after, taken, freed in STEPS:
                if letter != before:
                    continue
                source, target = f"S_{word}", f"S_{word[:site]}{after}{word[site + 1 :]}"
                yield reaction(
                    f"{constant}_{source}_{site + 1}",
                    [source, taken] if taken else [source],
                    [target, freed] if freed else [target],
                    ("times", constant, taken, source) if taken else ("times", constant, source),
                )


RECEPTOR_RATES = {
    # value, unit, what it is
    "k_on": (0.5, "litre_per_umol_per_s", "binding of EGF"),
    "k_off": (0.05, "per_s", "release of EGF"),
    "k_phos": (0.5, "per_s", "phosphorylation of a site, with EGF bound"),
    "k_dephos": (0.3, "per_s", "dephosphorylation of a free site"),
    "k_grb2_on": (1, "litre_per_umol_per_s", "binding of GRB2"),
    "k_grb2_off": (0.2, "per_s", "release of GRB2"),
    "k_shc1_on": (2, "litre_per_umol_per_s", "binding of SHC1"),
    "k_shc1_off": (0.4, "per_s", "release of SHC1"),
    "k_exchange": (0.8, "per_s", "nucleotide exchange at a receptor with GRB2"),
    "K_exchange": (0.5, "umol_per_litre", "half saturation of the exchange"),
    "k_hydrolysis": (0.08, "per_s", "hydrolysis of GTP by RAS"),
}
UNIPROT = {"EGF": "P01133", "receptor": "P00533", "GRB2": "P62993", "SHC1": "P29353", "RAS": "P01112"}


def receptor() -> str:
    """Growth factor receptor with two docking sites that know nothing of each other, and RAS behind one of them."""
    sites = {"U": "free", "P": "P", "G": "GRB2", "S": "SHC1"}
    forms = [(ligand, a, b) for ligand in ("R", "LR") for a in "UPG" for b in "UPS"]
    pools = []
    for ligand, a, b in forms:
        words = f"{'EGF-' if ligand == 'LR' else ''}receptor, site 1 {sites[a]}, site 2 {sites[b]}"
        start = 0.3 if (ligand, a, b) == ("R", "U", "U") else 0
        held = {"LR": ["EGF"], "R": []}[ligand] + {"G": ["GRB2"]}.get(a, []) + {"S": ["SHC1"]}.get(b, [])
        pools.append(identified(concentration(f"{ligand}_{a}{b}", start, words), ["receptor", *held]))
    pools += [
        identified(concentration("EGF", 0.6, "EGF"), ["EGF"]),
        identified(concentration("GRB2", 0.4, "GRB2 with SOS"), ["GRB2"]),
        identified(concentration("SHC1", 0.2, "SHC1"), ["SHC1"]),
        identified(concentration("RAS_GDP", 1, "RAS, inactive"), ["RAS"]),
        identified(concentration("RAS_GTP", 0, "RAS, active"), ["RAS"]),
    ]
    reactions = []

    def step(id: str, before: list[str], after: list[str], constant: str) -> None:
        reactions.append(reaction(id, before, after, ("times", "cell", constant, *before)))

    for ligand, a, b in forms:
        here = f"{ligand}_{a}{b}"
        if ligand == "R":
            step(f"bind_{here}", ["EGF", here], [f"LR_{a}{b}"], "k_on")
            step(f"release_{here}", [f"LR_{a}{b}"], ["EGF", here], "k_off")
        for site, letter, adaptor, held in ((0, a, "GRB2", "G"), (1, b, "SHC1", "S")):

            def with_site(letter: str, ligand: str = ligand, pair: str = a + b, site: int = site) -> str:
                return f"{ligand}_{pair[:site]}{letter}{pair[site + 1 :]}"

            rate = f"k_{adaptor.lower()}"
            if letter == "U" and ligand == "LR":
                step(f"phosphorylate_{site + 1}_{here}", [here], [with_site("P")], "k_phos")
            if letter == "P":
                step(f"dephosphorylate_{site + 1}_{here}", [here], [with_site("U")], "k_dephos")
                step(f"dock_{adaptor}_{here}", [adaptor, here], [with_site(held)], f"{rate}_on")
            if letter == held:
                step(f"undock_{adaptor}_{here}", [here], [adaptor, with_site("P")], f"{rate}_off")
    holding = [f"{ligand}_{a}{b}" for ligand, a, b in forms if a == "G"]
    exchange = ("times", "cell", "k_exchange", ("plus", *holding), "RAS_GDP")
    exchange = ("divide", exchange, ("plus", "K_exchange", "RAS_GDP"))
    reactions.append(reaction("exchange", ["RAS_GDP"], ["RAS_GTP"], exchange, holding))
    step("hydrolysis", ["RAS_GTP"], ["RAS_GDP"], "k_hydrolysis")
    notes = (
        "A receptor binds EGF; with EGF bound its two docking sites are phosphorylated, each by itself. Site 1, "
        "phosphorylated, binds GRB2 (with SOS), site 2 binds SHC1. Receptors with GRB2 activate RAS. R is the receptor "
        "without EGF, LR with it; the two letters are the sites: U free, P phosphorylated, G with GRB2, S with SHC1. "
        "The numbers are invented, of the magnitude of measured ones."
    )
    units = CONCENTRATION_UNITS.replace(
        "    </listOfUnitDefinitions>",
        """\
      <unitDefinition id="umol_per_litre"><listOfUnits>
        <unit kind="mole" exponent="1" scale="-6" multiplier="1"/>
        <unit kind="litre" exponent="-1" scale="0" multiplier="1"/>
      </listOfUnits></unitDefinition>
    </listOfUnitDefinitions>""",
    )
    parameters = [
        parameter(id, value, unit).replace(" value=", f' name="{name}" value=')
        for id, (value, unit, name) in RECEPTOR_RATES.items()
    ]
    title = "Growth factor receptor with two docking sites"
    return model("receptor", title, notes, units, [compartment()], pools, parameters, reactions)


def scaffold(sites: int = 3) -> str:
    """A network as BioNetGen generates it from rules: a scaffold with sites that bind partners, each by itself."""
    words = ["".join(word) for word in product("UPB", repeat=sites)]
    patterns = {}
    for word in words:
        inside = ",".join(
            f"s{k + 1}~{'U' if x == 'U' else 'P'}" + (f"!{k + 1}" if x == "B" else "") for k, x in enumerate(word)
        )
        partners = "".join(f".Partner{k + 1}(s!{k + 1})" for k, x in enumerate(word) if x == "B")
        patterns[word] = f"Scaffold({inside}){partners}"
    number = {word: k for k, word in enumerate(words, 1)}
    lines = [
        "# A scaffold with independent sites, as rules of BioNetGen would generate it; written by data/make_models.py"
    ]
    lines += ["begin parameters"]
    rates = [("k_kinase", 0.2), ("k_phosphatase", 0.1), ("k_bind", 0.05), ("k_unbind", 0.3)]
    lines += [f"  {k} {name} {value}" for k, (name, value) in enumerate(rates, 1)]
    lines += ["end parameters", "begin species"]
    lines += [f"  {number[word]} {patterns[word]} {10 if word == 'U' * sites else 0}" for word in words]
    lines += [f"  {len(words) + k} Partner{k}(s) {4 * k}" for k in range(1, sites + 1)]
    lines += ["end species", "begin reactions"]
    count = 0
    for word in words:
        for k, letter in enumerate(word):
            for before, after, rate in (("U", "P", "k_kinase"), ("P", "U", "k_phosphatase")):
                if letter == before:
                    count += 1
                    changed = number[word[:k] + after + word[k + 1 :]]
                    lines.append(f"  {count} {number[word]} {changed} {rate}")
            if letter == "P":
                bound, partner = number[word[:k] + "B" + word[k + 1 :]], len(words) + k + 1
                lines.append(f"  {count + 1} {number[word]},{partner} {bound} k_bind")
                lines.append(f"  {count + 2} {bound} {number[word]},{partner} k_unbind")
                count += 2
    lines += ["end reactions", "begin groups"]
    for k in range(sites):
        members = ",".join(str(number[word]) for word in words if word[k] == "B")
        lines.append(f"  {k + 1} Bound{k + 1} {members}")
    return "\n".join([*lines, "end groups", ""])


def sir_age_groups(groups: int = 3) -> str:
    """Susceptible, infected and recovered people in age groups that mix evenly."""
    numbers = range(1, groups + 1)
    start = {"S": [100 + 20 * (i % 3) for i in numbers], "I": [1 if i == 1 else 0 for i in numbers], "R": [0] * groups}
    words = {"S": "susceptible", "I": "infected", "R": "recovered"}
    people = [
        species(f"{kind}_{i}", start[kind][i - 1], name=f"{words[kind]}, group {i}") for kind in "SIR" for i in numbers
    ]
    infected = [f"I_{i}" for i in numbers]
    reactions = []
    for i in numbers:
        law = ("times", "beta", f"S_{i}", ("plus", *infected))
        reactions.append(
            reaction(f"infection_{i}", [f"S_{i}"], [f"I_{i}"], law, [j for j in infected if j != f"I_{i}"])
        )
        reactions.append(reaction(f"recovery_{i}", [f"I_{i}"], [f"R_{i}"], ("times", "gamma", f"I_{i}")))
    parameters = [parameter("beta", 0.003, "per_person_per_day"), parameter("gamma", 0.2, "per_day")]
    notes = "Everybody meets everybody alike, so the sums of the susceptible, infected and recovered people close."
    return model(
        "sir_age_groups",
        f"Epidemic in {groups} age groups that mix evenly",
        notes,
        PEOPLE_UNITS,
        [compartment("country", "region of the epidemic")],
        [text.replace('compartment="cell"', 'compartment="country"') for text in people],
        parameters,
        reactions,
        substance="item",
        time="day",
    )


def ring(size: int = 4) -> str:
    """X_1 ⇌ X_2 ⇌ X_3 ⇌ X_4 ⇌ X_1 with the same constants all around."""
    pools = [species(f"X_{i + 1}", 8 if i == 0 else i) for i in range(size)]
    reactions = []
    for i in range(size):
        a, b = f"X_{i + 1}", f"X_{(i + 1) % size + 1}"
        law = ("minus", ("times", "kf", a), ("times", "kb", b))
        reactions.append(reaction(f"turn_{i + 1}", [a], [b], law, reversible=True))
    notes = "A linear, symmetric ring: the sums of neighbours X_1 + X_2, X_2 + X_3, X_3 + X_4 close."
    rates = [parameter("kf", 1, "per_s"), parameter("kb", 1, "per_s")]
    return model("ring", f"Ring of {size} species", notes, AMOUNTS_UNITS, [compartment()], pools, rates, reactions)


def michaelis_menten() -> str:
    """E + S ⇌ ES → E + P, in concentrations."""
    pools = [
        concentration("E", 1, "enzyme"),
        concentration("S", 10, "substrate"),
        concentration("ES", 0, "complex"),
        concentration("P", 0, "product"),
    ]
    parameters = [
        parameter("k1", 2, "litre_per_umol_per_s"),
        parameter("k1r", 1, "per_s"),
        parameter("k2", 1.5, "per_s"),
    ]
    reactions = [
        reaction("binding", ["E", "S"], ["ES"], ("times", "cell", "k1", "E", "S")),
        reaction("release", ["ES"], ["E", "S"], ("times", "cell", "k1r", "ES")),
        reaction("catalysis", ["ES"], ["E", "P"], ("times", "cell", "k2", "ES")),
    ]
    notes = "An enzyme at work, by mass action; the standing example of the quasi-steady state."
    return model(
        "michaelis_menten", "Enzyme reaction", notes, CONCENTRATION_UNITS, [compartment()], pools, parameters, reactions
    )


def clue_example() -> str:
    """Polynomial example; x1 is a function of x1 and x2 + 2·x3."""
    rules = {
        "x1": ("plus", ("power", "x2", 2), ("times", 4, "x2", "x3"), ("times", 4, ("power", "x3", 2))),
        "x2": ("minus", ("times", 4, "x3"), ("times", 2, "x1")),
        "x3": ("plus", "x1", "x2"),
    }
    return equations("clue_example", "Polynomial example", rules, [0.1, 0.2, 0.1])


def squares_example() -> str:
    """Two squares of sums of variables that rest."""
    rules: dict[str, Math] = {
        "x1": ("plus", ("power", ("plus", "x2", "x3"), 2), ("power", ("plus", "x2", "x4"), 2)),
        "x2": 0,
        "x3": 0,
        "x4": 0,
    }
    return equations("squares_example", "Two squares of sums", rules, [0, 1, 2, 3])


def rational_example() -> str:
    """Rational example; x1 is a function of x1 and x2 + 2·x3."""
    below = ("plus", "x2", ("times", 2, "x3"), 1)
    rules = {
        "x1": ("divide", ("power", ("plus", "x2", ("times", 2, "x3")), 2), ("plus", ("power", "x1", 2), 1)),
        "x2": ("divide", ("minus", ("times", 2, "x1"), ("times", 4, "x3")), below),
        "x3": ("divide", ("minus", ("minus", "x1"), "x2"), below),
    }
    return equations("rational_example", "Rational example", rules, [0.5, 2, 1])


# -- the pieces ------------------------------------------------------------------------------------------------------


def model(
    id: str,
    name: str,
    notes: str,
    units: str,
    compartments: Sequence[str],
    pools: Sequence[str],
    parameters: Sequence[str],
    reactions: Sequence[str] | Iterator[str],
    *,
    substance: str = "umol",
    time: str = "second",
) -> str:
    """A whole file with reactions."""
    attributes = f'substanceUnits="{substance}" timeUnits="{time}" volumeUnits="litre" extentUnits="{substance}"'
    lists = {"Compartments": compartments, "Species": pools, "Parameters": parameters, "Reactions": reactions}
    return document(id, name, notes, attributes, units, lists)


def equations(id: str, name: str, rules: dict[str, Math], start: Sequence[float]) -> str:
    """A whole file of rate rules on parameters without dimension."""
    lists = {
        "Parameters": [parameter(x, v, "dimensionless", constant=False) for x, v in zip(rules, start, strict=True)],
        "Rules": [f'<rateRule variable="{x}">\n  {mathml(law)}\n</rateRule>' for x, law in rules.items()],
    }
    notes = "An example of systems of equations without units; the states are parameters with rate rules."
    return document(id, name, notes, 'timeUnits="dimensionless"', "", lists)


def document(
    id: str, name: str, notes: str, attributes: str, units: str, lists: dict[str, Sequence[str] | Iterator[str]]
) -> str:
    """The frame of a file around its lists."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">',
        f'  <model id="{id}" name="{escape(name)}" {attributes}>',
        f'    <notes><p xmlns="http://www.w3.org/1999/xhtml">{escape(notes)}</p></notes>',
    ]
    if units:
        lines.append(units.rstrip())
    for kind, members in lists.items():
        lines.append(f"    <listOf{kind}>")
        lines += ["      " + text.replace("\n", "\n      ") for text in members]
        lines.append(f"    </listOf{kind}>")
    return "\n".join([*lines, "  </model>", "</sbml>", ""])


def compartment(id: str = "cell", name: str = "cell") -> str:
    """A compartment of 1 litre."""
    return f'<compartment id="{id}" name="{name}" spatialDimensions="3" size="1" units="litre" constant="true"/>'


def species(id: str, amount: float, name: str | None = None) -> str:
    """A species whose id means its amount."""
    title = f' name="{name}"' if name else ""
    return (
        f'<species id="{id}"{title} compartment="cell" initialAmount="{amount}" hasOnlySubstanceUnits="true" '
        'boundaryCondition="false" constant="false"/>'
    )


def concentration(id: str, value: float, name: str) -> str:
    """A species whose id means its concentration."""
    return (
        f'<species id="{id}" name="{name}" compartment="cell" initialConcentration="{value}" '
        'hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"/>'
    )


def identified(text: str, proteins: Sequence[str]) -> str:
    """The species with what it is, or is made of, in UniProt."""
    id = text.split('id="', 1)[1].split('"', 1)[0]
    relation = "is" if len(proteins) == 1 else "hasPart"
    items = "".join(f'<rdf:li rdf:resource="https://identifiers.org/uniprot:{UNIPROT[p]}"/>' for p in proteins)
    about = (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:bqbiol="http://biomodels.net/biology-qualifiers/">'
        f'<rdf:Description rdf:about="#meta_{id}"><bqbiol:{relation}><rdf:Bag>{items}</rdf:Bag></bqbiol:{relation}>'
        "</rdf:Description></rdf:RDF>"
    )
    opened = text.replace(f'id="{id}"', f'id="{id}" metaid="meta_{id}"', 1).removesuffix("/>")
    return f"{opened}>\n  <annotation>{about}</annotation>\n</species>"


def parameter(id: str, value: float, units: str, *, constant: bool = True) -> str:
    """A parameter."""
    return f'<parameter id="{id}" value="{value}" units="{units}" constant="{str(constant).lower()}"/>'


def reaction(
    id: str,
    reactants: Sequence[str],
    products: Sequence[str],
    law: Math,
    modifiers: Sequence[str] = (),
    *,
    reversible: bool = False,
) -> str:
    """A reaction with all stoichiometries 1."""

    def references(kind: str, members: Sequence[str]) -> str:
        inside = "".join(f'<speciesReference species="{s}" stoichiometry="1" constant="true"/>' for s in members)
        return f"  <listOf{kind}>{inside}</listOf{kind}>\n"

    acting = "".join(f'<modifierSpeciesReference species="{s}"/>' for s in modifiers)
    return (
        f'<reaction id="{id}" reversible="{str(reversible).lower()}">\n'
        + references("Reactants", reactants)
        + references("Products", products)
        + (f"  <listOfModifiers>{acting}</listOfModifiers>\n" if modifiers else "")
        + f"  <kineticLaw>{mathml(law)}</kineticLaw>\n</reaction>"
    )


def mathml(law: Math) -> str:
    """MathML of a small expression."""

    def inside(part: Math) -> str:
        if isinstance(part, str):
            return f"<ci>{part}</ci>"
        if isinstance(part, tuple):
            return f"<apply><{part[0]}/>{''.join(inside(each) for each in part[1:])}</apply>"
        units = ' xmlns:sbml="http://www.sbml.org/sbml/level3/version2/core" sbml:units="dimensionless"'
        kind = ' type="integer"' if isinstance(part, int) else ""
        return f"<cn{units}{kind}>{part}</cn>"

    return f'<math xmlns="http://www.w3.org/1998/Math/MathML">{inside(law)}</math>'


if __name__ == "__main__":
    main()
