"""Small SBML texts for the tests of simulation, with known solutions."""

from __future__ import annotations

import math

_MATH = 'xmlns="http://www.w3.org/1998/Math/MathML"'
_TIME = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time"> t </csymbol>'


def math_of(inner: str) -> str:
    return f"<math {_MATH}>{inner}</math>"


def times(*items: str) -> str:
    return "<apply><times/>" + "".join(f"<ci>{item}</ci>" for item in items) + "</apply>"


def sbml(body: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">'
        f'<model id="m">{body}</model></sbml>'
    )


def species(name: str, value: float, *, amount: bool = False, boundary: bool = False) -> str:
    given = f'initialAmount="{value}"' if amount else f'initialConcentration="{value}"'
    return (
        f'<species id="{name}" compartment="c" {given} hasOnlySubstanceUnits="{str(amount).lower()}" '
        f'boundaryCondition="{str(boundary).lower()}" constant="false"/>'
    )


def parameter(name: str, value: float | None = None, *, constant: bool = False) -> str:
    given = "" if value is None else f'value="{value}"'
    return f'<parameter id="{name}" {given} constant="{str(constant).lower()}"/>'


def rate_rule(name: str, inner: str) -> str:
    return f'<rateRule variable="{name}">{math_of(inner)}</rateRule>'


def assignment(name: str, inner: str) -> str:
    return f'<assignmentRule variable="{name}">{math_of(inner)}</assignmentRule>'


def reaction(name: str, source: str, target: str, inner: str) -> str:
    def one(tag: str, which: str) -> str:
        return f'<listOf{tag}><speciesReference species="{which}" stoichiometry="1" constant="true"/></listOf{tag}>'

    return (
        f'<reaction id="{name}" reversible="false">{one("Reactants", source)}{one("Products", target)}'
        f"<kineticLaw>{math_of(inner)}</kineticLaw></reaction>"
    )


def rules(*items: str) -> str:
    return f"<listOfRules>{''.join(items)}</listOfRules>"


def parameters(*items: str) -> str:
    return f"<listOfParameters>{''.join(items)}</listOfParameters>"


VOLUME, A0, B0, K1, K2 = 2.0, 3.0, 1.0, 0.5, 0.2


def chain(*, amounts: bool = False, k1: float = K1) -> str:
    """A → B → C by mass action in a compartment of size 2; concentrations, or amounts under the same ids."""

    def flux(k: str, s: str) -> str:
        return times(k, s) if amounts else times(k, s, "c")

    factor = VOLUME if amounts else 1.0
    return sbml(
        f'<listOfCompartments><compartment id="c" size="{VOLUME}" constant="true"/></listOfCompartments>'
        f"<listOfSpecies>{species('A', A0 * factor, amount=amounts)}{species('B', B0 * factor, amount=amounts)}"
        f"{species('C', 0.0, amount=amounts)}</listOfSpecies>"
        + parameters(parameter("k1", k1, constant=True), parameter("k2", K2, constant=True), parameter("total"))
        + rules(assignment("total", "<apply><plus/><ci>A</ci><ci>B</ci></apply>"))
        + f"<listOfReactions>{reaction('r1', 'A', 'B', flux('k1', 'A'))}{reaction('r2', 'B', 'C', flux('k2', 'B'))}"
        "</listOfReactions>"
    )


def a_of(t: float) -> float:
    return A0 * math.exp(-K1 * t)


def b_of(t: float) -> float:
    return (B0 - A0 * K1 / (K2 - K1)) * math.exp(-K2 * t) + A0 * K1 / (K2 - K1) * math.exp(-K1 * t)


def ode(*equations: tuple[str, float, str], extra: str = "", more_rules: str = "") -> str:
    """Parameters with rate rules only: (id, initial value, MathML of the rate)."""
    return sbml(
        f"<listOfParameters>{''.join(parameter(name, value) for name, value, _ in equations)}{extra}</listOfParameters>"
        + rules(*(rate_rule(name, inner) for name, _, inner in equations), more_rules)
    )


def number(value: float) -> str:
    return f"<cn> {value!r} </cn>"


def scaled(factor: float, name: str) -> str:
    return f"<apply><times/>{number(factor)}<ci>{name}</ci></apply>"


def jump_at(moment: float) -> str:
    """x' = 1 until ``moment``, 3 after it."""
    inner = (
        f"<piecewise><piece>{number(3.0)}<apply><gt/>{_TIME}{number(moment)}</apply></piece>"
        f"<otherwise>{number(1.0)}</otherwise></piecewise>"
    )
    return ode(("x", 0.0, inner))


def event_at(moment: float) -> str:
    """x' = 1, and an event that sets the parameter p from 1 to 7."""
    trigger = f"<apply><gt/>{_TIME}{number(moment)}</apply>"
    return ode(("x", 0.0, number(1.0)), extra=parameter("p", 1.0)).replace(
        "</model>",
        '<listOfEvents><event id="e" useValuesFromTriggerTime="true">'
        f'<trigger initialValue="true" persistent="true">{math_of(trigger)}</trigger>'
        f'<listOfEventAssignments><eventAssignment variable="p">{math_of(number(7.0))}</eventAssignment>'
        "</listOfEventAssignments></event></listOfEvents></model>",
    )
