"""Small SBML models made of formulas, for the tests of reduced networks and of what other tools make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import libsbml

Side = Mapping[str, float]


def sbml_model(
    species: Mapping[str, float],
    reactions: Mapping[str, tuple[Side, Side, str]],
    parameters: Mapping[str, float],
    *,
    homes: Mapping[str, str] | None = None,
    sizes: Mapping[str, float] | None = None,
    amounts: Sequence[str] = (),
    rate_rules: Mapping[str, str] | None = None,
    boundary: Sequence[str] = (),
    factors: Mapping[str, str] | None = None,
    assignment_rules: Mapping[str, str] | None = None,
    named: Mapping[tuple[str, str], str] | None = None,
    annotated: bool = False,
) -> str:
    """SBML Level 3 Version 2; species are concentrations in ``cell`` unless said otherwise, all units declared.

    ``named`` gives ids to stoichiometries, by reaction and species.
    """
    document = libsbml.SBMLDocument(3, 2)
    model = document.createModel()
    model.setId("made")
    model.setMetaId("made_meta")
    for what, unit in (("Substance", "mole"), ("Extent", "mole"), ("Time", "second"), ("Volume", "litre")):
        getattr(model, f"set{what}Units")(unit)
    homes, sizes = homes or {}, sizes or {"cell": 2.0}
    for name, size in sizes.items():
        one = model.createCompartment()
        one.setId(name)
        one.setSize(size)
        one.setSpatialDimensions(3.0)
        one.setUnits("litre")
        one.setConstant(name not in {**(rate_rules or {}), **(assignment_rules or {})})
    for name, value in species.items():
        one = model.createSpecies()
        one.setId(name)
        one.setMetaId(f"meta_{name}")
        one.setCompartment(homes.get(name, next(iter(sizes))))
        one.setHasOnlySubstanceUnits(name in amounts)
        one.setBoundaryCondition(name in boundary)
        if factors and name in factors:
            one.setConversionFactor(factors[name])
        one.setConstant(False)
        one.setSubstanceUnits("mole")
        if name in amounts:
            one.setInitialAmount(value)
        else:
            one.setInitialConcentration(value)
        if annotated:
            term = libsbml.CVTerm(libsbml.BIOLOGICAL_QUALIFIER)
            term.setBiologicalQualifierType(libsbml.BQB_IS)
            term.addResource(f"http://identifiers.org/uniprot/{name}")
            one.addCVTerm(term)
    for name, value in parameters.items():
        one = model.createParameter()
        one.setId(name)
        one.setValue(value)
        one.setConstant(True)
    for name, formula in (rate_rules or {}).items():
        rule = model.createRateRule()
        rule.setVariable(name)
        rule.setMath(libsbml.parseL3Formula(formula))
    for name, formula in (assignment_rules or {}).items():
        rule = model.createAssignmentRule()
        rule.setVariable(name)
        rule.setMath(libsbml.parseL3Formula(formula))
    for name, (left, right, formula) in reactions.items():
        reaction = model.createReaction()
        reaction.setId(name)
        reaction.setReversible(False)
        for side, create in ((left, reaction.createReactant), (right, reaction.createProduct)):
            for which, amount in side.items():
                one = create()
                one.setSpecies(which)
                one.setStoichiometry(amount)
                one.setConstant(True)
                if (name, which) in (named or {}):
                    one.setId((named or {})[name, which])
        law = libsbml.parseL3Formula(formula)
        for which in species:
            if which in _names(law) and which not in left and which not in right:
                reaction.createModifier().setSpecies(which)
        reaction.createKineticLaw().setMath(law)
    return str(libsbml.writeSBMLToString(document))


def _names(node: libsbml.ASTNode) -> set[str]:
    kind = libsbml.ASTNode  # a node may come as the class of another library
    found = {kind.getName(node)} if kind.isName(node) else set()
    for i in range(kind.getNumChildren(node)):
        found |= _names(kind.getChild(node, i))
    return found


def saved(folder: Path, text: str, name: str = "model.xml") -> Path:
    """``text`` in a file of ``folder``."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def twin_chains(**options: object) -> str:
    """A1 → B1 → C and A2 → B2 → C with equal rate constants: A1 + A2, B1 + B2 and C are enough for C."""
    return sbml_model(
        {"A1": 3, "A2": 1, "B1": 0, "B2": 0.5, "C": 0},
        {
            "r1": ({"A1": 1}, {"B1": 1}, "cell * k * A1"),
            "r2": ({"A2": 1}, {"B2": 1}, "cell * k * A2"),
            "s1": ({"B1": 1}, {"C": 1}, "cell * v * B1 / (K + B1 + B2)"),
            "s2": ({"B2": 1}, {"C": 1}, "cell * v * B2 / (K + B1 + B2)"),
        },
        {"k": 0.3, "v": 1.5, "K": 2},
        **options,  # type: ignore[arg-type]
    )
