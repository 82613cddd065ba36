"""Shared and deep expressions get names, others do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sbmlump.model import Constant, Graph, Node, OdeSystem
from sbmlump.sbml import choose_helpers, load_sbml, write_system


def doubling(graph: Graph, levels: int) -> Node:
    """An expression whose tree has 2^levels leaves and whose graph has two nodes a level."""
    node = graph.symbol("x")
    for level in range(levels):
        node = graph.add((graph.mul((graph.symbol("k"), node)), graph.call("sin", (node,)), graph.number(level + 1)))
    return node


def nested(graph: Graph, levels: int) -> Node:
    node = graph.symbol("x")
    for _ in range(levels):
        node = graph.call("sin", (node,))
    return node


def one_state(graph: Graph, rhs: Node) -> OdeSystem:
    return OdeSystem(graph, ("x",), (graph.number(1),), (rhs,), (Constant("k", graph.decimal(0.25)),), id="one")


def same_rates(system: OdeSystem, again: OdeSystem) -> bool:
    points = np.linspace(0.1, 2.0, 7)[:, None]
    return bool(np.allclose(system.rates(0.0, points), again.rates(0.0, points), rtol=1e-12, atol=0))


def test_small_expressions_stay_whole() -> None:
    graph = Graph()
    shared = graph.call("exp", (graph.symbol("x"),))
    assert choose_helpers(graph, [graph.mul((graph.symbol("k"), shared)), shared], {}, ()) == {}


def test_exploding_expression_is_written_small_and_read_back(tmp_path: Path) -> None:
    graph = Graph()
    system = one_state(graph, doubling(graph, 60))
    data = write_system(system)
    assert len(data) < 100_000
    (tmp_path / "m.xml").write_bytes(data)
    assert same_rates(system, load_sbml(tmp_path / "m.xml"))


def test_deep_expression_is_cut_and_read_back(tmp_path: Path) -> None:
    graph = Graph()
    system = one_state(graph, nested(graph, 5_000))
    data = write_system(system)
    assert data.count(b"<assignmentRule") >= 10
    (tmp_path / "m.xml").write_bytes(data)
    again = load_sbml(tmp_path / "m.xml")
    assert same_rates(system, again)
    assert again.states == ("x",)


def test_helpers_avoid_ids_in_use_and_come_in_order() -> None:
    graph = Graph()
    root = nested(graph, 2_000)
    helpers = choose_helpers(graph, [root], {}, {"sbmlump_expr_1", "sbmlump_expr_3"})
    assert list(helpers) == sorted(helpers)
    assert list(helpers.values())[:3] == ["sbmlump_expr_2", "sbmlump_expr_4", "sbmlump_expr_5"]


def test_named_expression_needs_no_helper() -> None:
    graph = Graph()
    large = doubling(graph, 12)
    users = [graph.add((large, graph.symbol(name))) for name in ("a", "b", "c")]
    assert choose_helpers(graph, users, {}, ())
    # the first site is the definition of the name
    assert large not in choose_helpers(graph, [large, *users], {large: "named"}, ())


def test_long_sum_is_read_back_and_not_nested_deeply(tmp_path: Path) -> None:
    graph = Graph()
    terms = [graph.pow(graph.symbol("x"), graph.number(power)) for power in range(2, 6_002)]
    system = one_state(graph, graph.mul((graph.symbol("k"), graph.add(terms))))
    (tmp_path / "m.xml").write_bytes(write_system(system))
    again = load_sbml(tmp_path / "m.xml")
    points = np.linspace(0.1, 0.9, 5)[:, None]
    assert np.allclose(system.rates(0.0, points), again.rates(0.0, points), rtol=1e-12, atol=0)
