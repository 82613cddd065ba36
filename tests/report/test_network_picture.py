"""Networks as pictures: deterministic, bounded, nothing of a model becomes markup, merged states in one colour."""

from __future__ import annotations

import re
import stat
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

import sbmlump
from sbmlump.examples import multisite, network_from_reactions
from sbmlump.model import Quantity, ReducedSystem
from sbmlump.report import NetworkDrawing, network_pictures
from sbmlump.structure import meanings_of

DATA = Path(__file__).parents[2] / "data"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _no_graphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def pictures(reduction: ReducedSystem, **options):
    return network_pictures(reduction, reduction.system, meanings_of(reduction), NetworkDrawing(**options))


def age_groups() -> ReducedSystem:
    return sbmlump.reduce(sbmlump.load(DATA / "sir_age_groups.xml"), ["I_1 + I_2 + I_3"])


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    root = ET.fromstring(svg)
    found = [group.findall(f"{SVG}rect")[0] for group in root.iter(f"{SVG}g")]
    return [tuple(float(one.get(key)) for key in ("x", "y", "width", "height")) for one in found]


def test_merged_states_have_one_colour_and_others_none():
    first, second = pictures(age_groups())
    colour_of = {}
    for group in ET.fromstring(first.svg).iter(f"{SVG}g"):
        colour_of[group.findtext(f"{SVG}title")] = group.findall(f"{SVG}rect")[1].get("fill")
    susceptible = {colour for name, colour in colour_of.items() if "susceptible" in name}
    infected = {colour for name, colour in colour_of.items() if "infected" in name}
    assert len(susceptible) == len(infected) == 1
    assert susceptible != infected
    assert {colour for name, colour in colour_of.items() if "recovered" in name} == {"var(--panel)"}
    assert "stroke-dasharray" in first.svg
    assert len(boxes(second.svg)) == 2
    assert susceptible | infected <= set(re.findall(r'fill="(#\w+)"', second.svg))


def test_nodes_do_not_overlap_and_are_inside():
    first, _ = pictures(sbmlump.reduce(sbmlump.load(DATA / "multisite_2.xml"), ["kinase"]), reactions=1_000)
    found = boxes(first.svg)
    assert len(found) == 18
    width, height = map(float, ET.fromstring(first.svg).get("viewBox").split()[2:])
    for i, (x, y, w, h) in enumerate(found):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for u, v, a, b in found[:i]:
            assert x + w <= u or u + a <= x or y + h <= v or v + b <= y


def test_the_same_model_gives_the_same_picture():
    assert pictures(age_groups()) == pictures(age_groups())


def test_large_networks_are_summarised_or_said():
    made = sbmlump.reduce(sbmlump.load(DATA / "multisite_3.xml"), ["kinase"])
    first, second = pictures(made)
    assert "Summarised" in first.note
    assert "66 states and 288 reactions" in first.note
    assert len(boxes(first.svg)) == 6
    assert second.svg is not None
    first, _ = pictures(made, groups=3)
    assert first.svg is None
    assert "too large to be drawn: 66 states and 288 reactions" in first.note


def test_work_is_bounded():
    reactions = [(f"A{i} -> A{i + 1}", 1) for i in range(59)]
    system = network_from_reactions(reactions, initial={f"A{i}": 1 for i in range(60)})
    begin = time.process_time()
    first, _ = pictures(sbmlump.reduce(system, ["A59"], method="none"))
    assert first.svg is not None
    assert time.process_time() - begin < 5


def test_models_without_reactions_show_what_depends_on_what():
    first, _ = pictures(sbmlump.reduce(multisite(1), ["kinase"]))
    assert "marker-end" in first.svg


def test_names_are_text():
    made = age_groups()
    hostile = {name: Quantity(name, "species", name="<script>alert(1)</script>\"'&") for name in made.original.states}
    evil = replace(made, original=replace(made.original, quantities=hostile))
    first, _ = pictures(evil)
    assert "<script" not in first.svg
    assert "<script>alert(1)</script>\"'&" in "".join(ET.fromstring(first.svg).itertext())


def test_graphviz_lays_out_where_it_is_there(tmp_path, monkeypatch):
    made = age_groups()
    program = tmp_path / "dot"
    body = (
        f"#!{sys.executable}\nimport re, sys\ntext = sys.stdin.read()\n"
        "assert 'susceptible' not in text\n"
        "for i in sorted({int(n) for n in re.findall(r'n(\\d+)', text)}):\n"
        "    print(f'node n{i} {i * 3} {i % 2} 1 1 x solid box black lightgrey')\n"
    )
    program.write_text(body, encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    first, _ = pictures(made)
    assert "Laid out by Graphviz" in first.note
    program.write_text(f"#!{sys.executable}\nraise SystemExit(1)\n", encoding="utf-8")
    assert "Graphviz" not in pictures(made)[0].note
