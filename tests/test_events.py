"""Events through reductions, proofs and files: what they set, and at which moment the values are taken."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from event_oracle import run_events
from event_tampering import changed_events
from hypothesis import given, settings
from hypothesis import strategies as st
from sbml.read_models import (
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
from strategies import event_models

import sbmlump
from sbmlump.errors import SbmlumpError, UnsupportedModelError
from sbmlump.model import ExactProof
from sbmlump.proof import Refutation
from sbmlump.sbml import write_system

TIMES = (0.513, 0.987, 1.013, 1.27, 1.493, 1.517, 1.73, 2.013, 2.27, 2.517, 3.1)


def priority(formula: str) -> str:
    return f"<priority>{math(formula)}</priority>"


def delay(formula: str) -> str:
    return f"<delay>{math(formula)}</delay>"


def named(name: str, one: str) -> str:
    return one.replace('<event id="e"', f'<event id="{name}"')


def pool_model(*events: str) -> str:
    """A and B decay alike into C."""
    return sbml(
        listed("Compartments", compartment())
        + listed("Species", species("A"), species("B", 'initialConcentration="3"'), species("C"), species("D"))
        + listed(
            "Reactions",
            reaction("r1", "A", "C", "0.6*A*c"),
            reaction("r2", "B", "C", "0.6*B*c"),
            reaction("r3", "C", "D", "0.2*C*c"),
        )
        + listed("Events", *events)
    )


def written(folder: Path, text: str, observed: str, method: str = "exact") -> tuple[Path, Path]:
    """The model and its reduction as files."""
    source, target = folder / "m.xml", folder / "r.xml"
    source.write_text(text)
    sbmlump.reduce(sbmlump.load(source), [observed], method=method).write(target)
    return source, target


def assert_same(source: Path, target: Path, observed: str) -> None:
    """Both files give the observable the same course, and `verify` proves it."""
    before, after = (run_events(sbmlump.load(path), [observed], TIMES) for path in (source, target))
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-9)
    assert isinstance(sbmlump.verify(source, target), ExactProof)


def edited(target: Path, old: str, new: str) -> Path:
    text = target.read_text(encoding="utf-8")
    assert old in text
    path = target.with_name("edited.xml")
    path.write_text(text.replace(old, new))
    return path


# -- concentrations set while their compartment is resized -------------------------------------------


@pytest.mark.parametrize("by_rule", [False, True])
@pytest.mark.parametrize("more", ["", delay("0.5")])
@pytest.mark.parametrize("order", [0, 1])
def test_a_concentration_set_by_an_event_counts_by_the_size_before(
    tmp_path: Path, by_rule: bool, more: str, order: int
) -> None:
    """6 in a size of 3 that becomes 9 is 2; what decays afterwards decays from there."""
    size = "v" if by_rule else "c"
    sets = {"S": "6", size: "9"}
    one = event("time > 1", sets if not order else dict(reversed(sets.items())), more=more)
    text = sbml(
        listed("Compartments", compartment("c", None if by_rule else "3", constant=False))
        + listed("Species", species("S"), species("P"))
        + (listed("Parameters", parameter("v", "3", constant=False)) if by_rule else "")
        + (listed("Rules", rule("assignmentRule", "c", "v")) if by_rule else "")
        + listed("Reactions", reaction("r", "S", "P", "0.5*S*c"))
        + listed("Events", one)
    )
    source, target = written(tmp_path, text, "S")
    at = 1.5 if more else 1.0
    times = np.array([0.9, 1.6, 2.5])
    expected = np.where(times < at, np.exp(-0.5 * times), 2 * np.exp(-0.5 * (times - at)))
    for path in (source, target):
        np.testing.assert_allclose(run_events(sbmlump.load(path), ["S"], times)[:, 0], expected, rtol=1e-8)
    assert_same(source, target, "S")


def test_what_an_event_sets_is_written_as_it_was(tmp_path: Path) -> None:
    """``convert`` writes the value without the sizes; read again it means the same."""
    text = sbml(
        listed("Compartments", compartment(size="3", constant=False))
        + listed("Species", species("S"), species("T"))
        + listed("Events", event("time > 1", {"S": "6", "c": "9"}), named("f", event("time > 2", {"T": "c"})))
    )
    system = system_of(tmp_path, text)
    first = system.events[0]
    graph = system.graph
    assert (
        graph.number_of(graph.substitute([dict(first.assignments)["S"]], {graph.symbol("c"): graph.number(3)})[0]) == 2
    )
    again = system_of(tmp_path, write_system(system).decode())
    assert again.graph.number_of(dict(again.events[0].unscaled)["S"]) == 6
    assert [name for name, _ in again.events[0].implied] == ["T"]
    np.testing.assert_allclose(run_events(again, ["S", "T"], TIMES), run_events(system, ["S", "T"], TIMES), rtol=1e-9)


def test_level_2_means_the_same(tmp_path: Path) -> None:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" '
        'version="4"><model id="m"><listOfCompartments><compartment id="c" size="3" constant="false"/>'
        '</listOfCompartments><listOfSpecies><species id="S" compartment="c" initialConcentration="1"/></listOfSpecies>'
        f'<listOfEvents><event id="e"><trigger>{math("time > 1")}</trigger><listOfEventAssignments>'
        f'<eventAssignment variable="S">{math("6")}</eventAssignment>'
        f'<eventAssignment variable="c">{math("9")}</eventAssignment></listOfEventAssignments></event></listOfEvents>'
        "</model></sbml>"
    )
    source, target = written(tmp_path, text, "S")
    for path in (source, target):
        np.testing.assert_allclose(run_events(sbmlump.load(path), ["S"], [0.5, 1.5])[:, 0], [1, 2])
    assert isinstance(sbmlump.verify(source, target), ExactProof)


def test_one_event_sets_the_concentration_and_another_the_size(tmp_path: Path) -> None:
    """The order is that of the priorities; the new concentration of the second is made of what is then there."""
    for first, last in itertools.permutations(["1", "2"]):
        text = sbml(
            listed("Compartments", compartment(size="3", constant=False))
            + listed("Species", species("S"), species("P"))
            + listed("Reactions", reaction("r", "S", "P", "0.5*S*c"))
            + listed(
                "Events",
                named("e1", event("time > 1", {"S": "6"}, more=priority(first))),
                named("e2", event("time > 1", {"c": "9"}, more=priority(last))),
            )
        )
        source, target = written(tmp_path, text, "S")
        after = 6.0 if last == "2" else 2.0
        np.testing.assert_allclose(
            run_events(sbmlump.load(target), ["S"], [1.5])[:, 0], after * np.exp(-0.25), rtol=1e-8
        )
        assert_same(source, target, "S")


def test_amounts_of_one_moment_over_sizes_of_another_are_not_written_as_one(tmp_path: Path) -> None:
    """Nothing smaller says it: the exact lumping keeps the model, what would rewrite the event is refused."""
    text = sbml(
        listed("Compartments", compartment(size="3", constant=False))
        + listed("Species", species("S"), species("P"), species("Z", amounts=True))
        + listed("Reactions", reaction("r", "S", "P", "0.5*S*c"), reaction("s", "P", "Z", "0.1*P*c"))
        + listed("Events", event("S < 0.8", {"S": "S + 1", "c": "2*c"}, more=delay("0.5")))
    )
    source, target = written(tmp_path, text, "S")
    assert_same(source, target, "S")
    system = sbmlump.load(source)
    with pytest.raises(UnsupportedModelError):
        sbmlump.reduce(system, ["S"], method="relation-graph")
    bent = edited(target, "<ci> S </ci>", "<cn> 1 </cn>")
    assert isinstance(sbmlump.verify(source, bent), Refutation)


def test_a_size_that_is_doubled_needs_no_lump_of_its_own(tmp_path: Path) -> None:
    text = sbml(
        listed("Compartments", compartment(size="3", constant=False))
        + listed("Species", species("A"), species("B"), species("C"))
        + listed("Reactions", reaction("r", "A", "C", "0.5*A*c"), reaction("s", "B", "C", "0.5*B*c"))
        + listed("Events", event("time > 1", {"c": "2*c"}))
    )
    source, target = written(tmp_path, text, "C")
    assert len(sbmlump.load(target).states) == 2
    assert_same(source, target, "C")


# -- values of the trigger ----------------------------------------------------------------------------


def test_a_pool_is_set_to_what_it_was_at_the_trigger(tmp_path: Path) -> None:
    one = event("time > 1", {"A": "A - 0.3", "B": "B + 0.3"}, more=delay("0.7"))
    source, target = written(tmp_path, pool_model(one), "C")
    ((name, node),) = sbmlump.load(target).events[0].assignments
    assert sbmlump.load(target).graph.name(node) == name  # pool := pool, of an earlier moment
    assert_same(source, target, "C")
    root = ET.parse(target).getroot()
    bent = dict(changed_events(root))
    for what in (f"assignment to {name} of event 0 removed", "C := C added to event 0", "delay of event 0 removed"):
        path = tmp_path / "bent.xml"
        ET.ElementTree(bent[what]).write(path)
        assert isinstance(sbmlump.verify(source, path), Refutation), what


def test_the_same_with_values_of_the_execution_leaves_the_pool_alone(tmp_path: Path) -> None:
    one = event("time > 1", {"A": "A - 0.3", "B": "B + 0.3"}, more=delay("0.7"), use=False)
    source, target = written(tmp_path, pool_model(one), "C")
    assert sbmlump.load(target).events[0].assignments == ()
    assert_same(source, target, "C")


def test_a_later_event_of_the_same_moment_undoes_an_earlier_one(tmp_path: Path) -> None:
    events = (
        named("e1", event("time > 1", {"A": "A + 1", "B": "B"}, more=priority("2"))),
        named("e2", event("time > 1", {"A": "B", "B": "A"}, more=priority("1"))),
    )
    source, target = written(tmp_path, pool_model(*events), "C")
    assert [len(one.assignments) for one in sbmlump.load(target).events] == [1, 1]
    assert_same(source, target, "C")
    undone = run_events(sbmlump.load(source), ["C"], [1.5])[0, 0]
    plain = sbmlump.load(tmp_path / "m.xml")
    assert abs(undone - run_events(replace(plain, events=()), ["C"], [1.5])[0, 0]) < 1e-8


def test_events_at_different_times_do_not_meet(tmp_path: Path) -> None:
    """A dose into a pool that another event moves mass within, an hour later: the pool has both."""
    events = (
        named("dose", event("time > 1", {"A": "A + 1"})),
        named("swap", event("time > 2", {"A": "B", "B": "A"})),
    )
    source, target = written(tmp_path, pool_model(*events), "C")
    system = sbmlump.load(target)
    assert len(system.states) == 2
    assert [len(one.assignments) for one in system.events] == [1, 0]
    assert_same(source, target, "C")


def test_a_value_of_two_moments_for_one_pool_is_split_or_refused(tmp_path: Path) -> None:
    """A is set to a value of the trigger, B goes on: A and B are no pool any more."""
    one = event("C > 1.2", {"A": "A + C"}, more=delay("0.7"))
    source, target = written(tmp_path, pool_model(one), "C")
    assert len(sbmlump.load(target).states) == 3
    assert_same(source, target, "C")


def test_events_in_another_order_are_not_the_same_file(tmp_path: Path) -> None:
    events = (
        named("e1", event("time > 1", {"A": "A + 1"}, use=False)),
        named("e2", event("time > 1", {"A": "2*A", "B": "2*B"}, use=False)),
    )
    source, target = written(tmp_path, pool_model(*events), "C")
    root = ET.parse(target).getroot()
    found = dict(changed_events(root))
    ET.ElementTree(found["event 0 moved to the end"]).write(tmp_path / "bent.xml")
    result = sbmlump.verify(source, tmp_path / "bent.xml")
    assert isinstance(result, Refutation)
    assert "another order" in str(result.reasons[0])


def test_an_event_that_sets_nothing_of_the_reduced_model_may_be_left_out(tmp_path: Path) -> None:
    events = (named("e1", event("time > 1", {"A": "A + 1"})), named("e2", event("time > 2", {"D": "0"})))
    source, target = written(tmp_path, pool_model(*events), "C")
    found = dict(changed_events(ET.parse(target).getroot()))
    ET.ElementTree(found["event 1 removed"]).write(tmp_path / "bent.xml")
    assert isinstance(sbmlump.verify(source, tmp_path / "bent.xml"), ExactProof)
    ET.ElementTree(found["event 0 removed"]).write(tmp_path / "bent.xml")
    assert isinstance(sbmlump.verify(source, tmp_path / "bent.xml"), Refutation)


# -- totals -------------------------------------------------------------------------------------------


def exchange(*events: str) -> str:
    return sbml(
        listed("Compartments", compartment())
        + listed("Species", species("A", 'initialConcentration="4"'), species("B"), species("X"))
        + listed("Reactions", reaction("r", "A", "B", "0.5*A*c"), reaction("s", "B", "A", "0.2*B*c"))
        + listed("Events", *events)
    )


@pytest.mark.parametrize(
    ("sets", "more", "kept"),
    [
        ({"A": "A + B/4", "B": "3*B/4"}, "", True),
        ({"A": "A - B/4", "B": "3*B/4"}, "", False),
        ({"A": "A + B/4", "B": "3*B/4"}, delay("0.5"), True),  # both of one moment, and the total is the same at each
        ({"A": "A"}, "", True),
        ({"A": "A"}, delay("0.5"), False),  # A as it was at the trigger, B as it is
        ({"A": "A*B/(1 + B)", "B": "B + A/(1 + B)"}, "", True),
    ],
)
def test_a_total_is_one_that_every_event_keeps(tmp_path: Path, sets: dict[str, str], more: str, kept: bool) -> None:
    source, target = written(tmp_path, exchange(event("time > 1", sets, more=more)), "A", "conservation")
    assert len(sbmlump.load(target).states) == (1 if kept else 2)
    assert_same(source, target, "A")
    system = sbmlump.load(source)
    if kept:
        assert sbmlump.reduce(system, ["A"], method="conservation", totals=("A + B",)).reducible
    else:
        with pytest.raises(UnsupportedModelError, match="the event e sets A"):
            sbmlump.reduce(system, ["A"], method="conservation", totals=("A + B",))


@pytest.mark.parametrize("more", ["", delay("0.5")])
def test_a_total_that_only_an_event_mentions_is_one(tmp_path: Path, more: str) -> None:
    one = event("time > 1", {"X": "A + B"}, more=more)
    text = exchange(one).replace("</listOfReactions>", f"{reaction('d', 'X', '', 'X*c')}</listOfReactions>")
    source, target = written(tmp_path, text, "X", "exact,conservation")
    assert sbmlump.load(target).states == ("X",)
    assert_same(source, target, "X")


def test_a_total_that_a_delayed_event_does_not_keep_is_refuted(tmp_path: Path) -> None:
    """A file in which the delayed event became one without delay proves nothing about the delayed one."""
    source, target = written(tmp_path, exchange(event("time > 1", {"A": "A"})), "A", "conservation")
    assert isinstance(sbmlump.verify(source, target), ExactProof)
    for path in (source, target):
        path.write_text(path.read_text().replace("</trigger>", f"</trigger>{delay('0.5')}"))
    assert isinstance(sbmlump.verify(source, target), Refutation)


def test_methods_that_measure_follow_no_values_that_are_overwritten_at_the_same_time(tmp_path: Path) -> None:
    events = (
        named("e1", event("time > 1", {"A": "A + 1"})),
        named("e2", event("time > 1", {"A": "2*A"})),
    )
    source = tmp_path / "m.xml"
    source.write_text(pool_model(*events))
    with pytest.raises(UnsupportedModelError, match="other events happen at the same time 1"):
        sbmlump.reduce(sbmlump.load(source), ["C"], method="relation-graph", threshold=0.1)


# -- many -----------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(event_models(), st.sampled_from([("exact", "C"), ("forward-equivalence", "C"), ("conservation", "P")]))
def test_reductions_of_random_events_follow_the_original(
    tmp_path_factory: pytest.TempPathFactory, text: str, how: tuple[str, str]
) -> None:
    """What is written has the course of the original; what is changed by hand has it too, or is not proved."""
    method, observed = how
    folder = tmp_path_factory.mktemp("events")
    source, target = written(folder, text, observed, method)
    expected = run_events(sbmlump.load(source), [observed], TIMES)
    np.testing.assert_allclose(run_events(sbmlump.load(target), [observed], TIMES), expected, rtol=1e-6, atol=1e-8)
    assert isinstance(sbmlump.verify(source, target), ExactProof)
    for what, tree in list(changed_events(ET.parse(target).getroot()))[::5]:
        bent = folder / "bent.xml"
        ET.ElementTree(tree).write(bent)
        try:
            proved = isinstance(sbmlump.verify(source, bent), ExactProof)
        except SbmlumpError:
            continue
        if proved:
            got = run_events(sbmlump.load(bent), [observed], TIMES)
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8, err_msg=what)
