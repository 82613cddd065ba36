"""Events and what follows from them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from sbml.read_models import (
    codes_of,
    compartment,
    event,
    listed,
    math,
    parameter,
    reaction,
    rule,
    sbml,
    species,
    system_of,
)

from sbmlump.model import to_text


def model(*parts: str, where: str = "") -> str:
    return sbml(listed("Compartments", where or compartment()) + "".join(parts))


def test_everything_said_of_an_event_is_kept(tmp_path: Path) -> None:
    more = f"<priority>{math('p')}</priority><delay>{math('2*p')}</delay>"
    one = event("A < q", {"A": "q*3"}, more=more, flags='initialValue="false" persistent="false"', use=False)
    parts = (
        listed("Species", species("A")),
        listed("Parameters", parameter("p"), parameter("q", constant=False)),
        listed("Rules", rule("assignmentRule", "q", "p + 1")),
        listed("Events", one),
    )
    system = system_of(tmp_path, model(*parts))
    found = system.events[0]
    graph = system.graph
    assert found.id == "e"
    assert graph.name(found.trigger) == "lt"
    assert graph.symbols([found.trigger]) == {"A", "p"}
    assert found.delay is not None
    assert found.priority is not None
    assert (to_text(graph, found.delay), to_text(graph, found.priority)) == ("2*p", "p")
    assert (found.initial_value, found.persistent, found.use_trigger_values) == (False, False, False)
    assert found.assignments[0][0] == "A"
    assert graph.symbols([found.assignments[0][1]]) == {"p"}
    assert system.states == ("A",)
    assert graph.number_of(system.rhs[0]) == 0


def test_level_2_events_have_the_defaults_of_level_2(tmp_path: Path) -> None:
    text = sbml(
        '<listOfParameters><parameter id="p" value="1" constant="false"/></listOfParameters>'
        f"<listOfEvents><event><trigger>{math('time > 1')}</trigger><listOfEventAssignments>"
        f'<eventAssignment variable="p">{math("2")}</eventAssignment></listOfEventAssignments></event></listOfEvents>',
        level=2,
        version=3,
    )
    found = system_of(tmp_path, text).events[0]
    assert (found.initial_value, found.persistent, found.use_trigger_values) == (True, True, True)
    assert found.id is None


def test_an_event_that_resizes_a_compartment_keeps_the_amounts(tmp_path: Path) -> None:
    kinds = species("A"), species("N", amounts=True), species("B", boundary=True), species("D")
    parts = (
        listed("Species", *kinds),
        listed("Reactions", reaction("r", "A N D", "", "c*A")),
        listed("Events", event("time > 1", {"c": "3*c", "D": "8"})),
    )
    system = system_of(tmp_path, model(*parts, where=compartment(constant=False)))
    assert system.states == ("A", "N", "D", "c")
    implied = dict(system.events[0].implied)
    assert set(implied) == {"A"}  # N is an amount, D is set, B is an amount divided by the size at all times
    assert to_text(system.graph, implied["A"]) == "1/3*A"
    graph = system.graph
    assert graph.number_of(dict(system.events[0].assignments)["D"]) == Fraction(
        8, 3
    )  # the amount is set by the size before
    assert [(name, graph.number_of(node)) for name, node in system.events[0].unscaled] == [("D", 8)]
    assert [a.id for a in system.assigned if a.implicit] == ["B"]


def test_an_event_that_resizes_through_a_rule(tmp_path: Path) -> None:
    parts = (
        listed("Species", species("A")),
        listed("Parameters", parameter("p", "4", constant=False)),
        listed("Rules", rule("assignmentRule", "c", "2*p")),
        listed("Reactions", reaction("r", "A", "", "c*A")),
        listed("Events", event("time > 1", {"p": "p + 1"})),
    )
    system = system_of(tmp_path, model(*parts, where=compartment(size=None, constant=False)))
    ((name, node),) = system.events[0].implied
    assert name == "A"
    graph = system.graph
    at_four = graph.substitute([node], {graph.symbol("p"): graph.number(4)})[0]
    assert to_text(graph, at_four) == "0.8*A"


def test_an_event_may_set_a_stoichiometry(tmp_path: Path) -> None:
    made = '<speciesReference id="n" species="B" stoichiometry="2" constant="false"/>'
    one = reaction("r", "A", "", "c*A").replace("<kineticLaw>", f"<listOfProducts>{made}</listOfProducts><kineticLaw>")
    parts = (
        listed("Species", species("A"), species("B")),
        listed("Reactions", one),
        listed("Events", event("time > 1", {"n": "5"})),
    )
    system = system_of(tmp_path, model(*parts))
    assert system.states == ("A", "B", "n")
    assert to_text(system.graph, system.rhs[1]) == "A*n"
    assert system.initial_state().tolist() == [1, 1, 2]


@pytest.mark.parametrize("target", ["nosuch", "e", "r"])
def test_an_event_that_sets_what_has_no_value_is_refused(tmp_path: Path, target: str) -> None:
    one = listed("Species", species("A")) + listed("Reactions", reaction("r", "A", "", "c*A"))
    assert "unknown-id" in codes_of(tmp_path, model(one, listed("Events", event("time > 1", {target: "5"}))))


def test_an_event_that_sets_an_assigned_quantity_is_refused(tmp_path: Path) -> None:
    parts = (
        listed("Parameters", parameter("p", constant=False)),
        listed("Rules", rule("assignmentRule", "p", "time")),
        listed("Events", event("time > 1", {"p": "5"})),
    )
    assert codes_of(tmp_path, model(*parts)) == ["event-sets-assigned"]


def test_an_event_without_trigger_never_fires(tmp_path: Path) -> None:
    bare = '<event useValuesFromTriggerTime="true"><listOfEventAssignments><eventAssignment variable="p"/>'
    one = f"{bare}</listOfEventAssignments></event>"
    system = system_of(tmp_path, model(listed("Parameters", parameter("p", constant=False)), listed("Events", one)))
    assert system.events[0].trigger == system.graph.truth(False)
    assert system.events[0].assignments == ()
    assert system.states == ()
