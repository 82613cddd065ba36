"""Antimony, LaTeX and the table of the lumping."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from network_models import saved, twin_chains

import sbmlump
from sbmlump.errors import UsageError
from sbmlump.formats import latex_equations, latex_reduction, lumping_csv, node_to_latex
from sbmlump.jobs import REDUCTION_SUFFIXES, check_suffix, written_as_sbml, written_reduction, written_system
from sbmlump.model import Event, Graph, ReducedSystem, parse_expression
from sbmlump.sbml import load_sbml


@pytest.fixture
def reduction(tmp_path: Path) -> ReducedSystem:
    return sbmlump.reduce(sbmlump.load(saved(tmp_path, twin_chains())), ["C"])


def test_antimony_comes_back_as_the_same_equations(reduction: ReducedSystem, tmp_path: Path) -> None:
    antimony = pytest.importorskip("antimony")
    text = written_reduction(reduction, ".ant", written_as_sbml(reduction)).data.decode()
    assert "pooled_r1_r2: pool_A1_A2 => pool_B1_B2" in text
    assert antimony.loadAntimonyString(text) >= 0, antimony.getLastError()
    again = load_sbml(saved(tmp_path, antimony.getSBMLString(antimony.getMainModuleName()), "again.xml"))
    antimony.clearPreviousLoads()
    assert set(again.states) == {"pool_A1_A2", "pool_B1_B2", "C"}
    order = [again.states.index(name) for name in reduction.system.states]
    point = [1.0, 2.0, 3.0]
    moved = [0.0] * 3
    for value, place in zip(point, order, strict=True):
        moved[place] = value
    assert again.rates(0, moved)[order] == pytest.approx(reduction.system.rates(0, point), rel=1e-12)


def test_table_has_exact_entries(reduction: ReducedSystem) -> None:
    rows = list(csv.reader(io.StringIO(lumping_csv(reduction).decode())))
    assert rows[0] == ["lump", *reduction.original.states]
    read = [{name: Fraction(v) for name, v in zip(rows[0][1:], row[1:], strict=True) if v} for row in rows[1:]]
    assert read == [dict(lump.members) for lump in reduction.lumps]
    assert [row[0] for row in rows[1:]] == [lump.id for lump in reduction.lumps]


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("A - B", r"\mathit{A} - \mathit{B}"),
        ("A - 2*B", r"\mathit{A} - 2 \, \mathit{B}"),
        ("k_1 * (A + B)", r"\mathit{k\_1} \, \left(\mathit{A} + \mathit{B}\right)"),
        ("A / (B + 1)", r"\frac{\mathit{A}}{\mathit{B} + 1}"),
        ("(A + B)^2", r"{\left(\mathit{A} + \mathit{B}\right)}^{2}"),
        ("A^0.5", r"\sqrt{\mathit{A}}"),
        ("exp(-A)", r"\operatorname{exp}\left(-\mathit{A}\right)"),
        ("A * 1e-7", r"1 \cdot 10^{-7} \, \mathit{A}"),
        ("A / 3", r"\frac{1}{3} \, \mathit{A}"),
    ],
)
def test_expressions(text: str, latex: str) -> None:
    graph = Graph()
    definitions = {name: graph.symbol(name) for name in ("A", "B", "k_1")}
    assert node_to_latex(graph, parse_expression(graph, text, definitions)) == latex


def test_document_is_balanced_and_names_every_state(reduction: ReducedSystem) -> None:
    for data in (latex_reduction(reduction), latex_equations(reduction.original)):
        text = data.decode()
        assert text.count("{") == text.count("}")
        assert text.count(r"\left(") == text.count(r"\right)")
        assert re.findall(r"\\begin\{(\w+\*?)\}", text).count("document") == 1
    text = latex_reduction(reduction).decode()
    assert all(name.replace("_", r"\_") in text for name in reduction.system.states)
    assert r"\mathit{pool\_A1\_A2} &= \mathit{A1} + \mathit{A2}" in text


@pytest.mark.parametrize(
    "name", [r"\input{secret} \end{document}", "50 % & more #1 $x$ ~ ^", "a\nb\x1b[31m\u202ec", "{" * 3]
)
def test_names_are_text_whatever_they_hold(name: str, reduction: ReducedSystem) -> None:
    system = replace(reduction.original, name=name)
    text = latex_equations(system).decode()
    title = re.search(r"\\section\*\{(.*)\}\n", text)[1]
    commands = {r"\textbackslash", r"\textasciitilde", r"\textasciicircum", r"\&", r"\%", r"\#", r"\$", r"\{", r"\}"}
    assert set(re.findall(r"\\(?:[a-z]+|.)", title)) <= commands
    assert all(character.isprintable() for character in title)
    shown = title
    for mark, code in (("\\", r"\textbackslash{}"), ("~", r"\textasciitilde{}"), ("^", r"\textasciicircum{}")):
        shown = shown.replace(code, mark)
    if name.isprintable() and "\\" not in name:
        assert re.sub(r"\\([&%#$_{}])", r"\1", shown) == name


def test_events_stand_in_the_document(reduction: ReducedSystem) -> None:
    system = reduction.original
    graph = system.graph
    late = graph.call("geq", (graph.time(), graph.number(5)))
    event = Event(late, (("C", graph.number(7)),), delay=graph.number(2), priority=graph.number(3), persistent=False)
    text = latex_equations(replace(system, events=(event,))).decode()
    assert r"\text{when } t \ge 5 \text{ becomes true}, \text{ after } 2, \text{ with priority } 3" in text
    assert r"\mathit{C} \leftarrow 7" in text


def test_long_parts_get_a_name() -> None:
    graph = Graph()
    total = graph.add(graph.symbol(f"a_rather_long_name_{i}") for i in range(40))
    system = sbmlump.OdeSystem(graph, ("x",), (graph.number(1),), (graph.div(graph.call("exp", (total,)), total),))
    text = latex_equations(system).decode()
    assert "e_{1} &= " in text
    assert text.count("a\\_rather\\_long\\_name\\_7") == 1


@pytest.mark.parametrize("suffix", REDUCTION_SUFFIXES)
def test_every_suffix_is_written(reduction: ReducedSystem, suffix: str) -> None:
    if suffix == ".ant":
        pytest.importorskip("antimony")
    assert written_reduction(reduction, suffix, written_as_sbml(reduction)).data
    if suffix != ".csv":
        assert written_system(reduction.original, suffix).data


def test_an_unknown_suffix_is_refused_in_a_sentence() -> None:
    assert check_suffix("a/b.XML", REDUCTION_SUFFIXES) == ".xml"
    with pytest.raises(UsageError, match=r"suffix of model\.doc; known: \.xml"):
        check_suffix("model.doc", REDUCTION_SUFFIXES)
