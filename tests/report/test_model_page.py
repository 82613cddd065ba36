from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import sbmlump
from sbmlump.cli import run
from sbmlump.errors import Reason
from sbmlump.jobs import run_reduction
from sbmlump.methods import reduce_options
from sbmlump.model import (
    AffineLumping,
    ErrorEstimate,
    ExactProof,
    Graph,
    LinearLumping,
    Lump,
    LumpingMatrix,
    Observable,
    OdeSystem,
    Quantity,
    ReducedSystem,
)
from sbmlump.report import certificate_words, matrix_svg, rounded, write_model_page, write_outcome_page
from sbmlump.simulators import ErrorReport, quantity_errors

HOSTILE = '<script>alert("x")</script> & "quotes"'
VOID = {"meta", "br", "link", "img", "input", "hr"}


def system(states: list[str], name: str | None = None) -> OdeSystem:
    graph = Graph()
    zeros = (graph.number(0),) * len(states)
    quantities = {states[0]: Quantity(states[0], "species", name=HOSTILE)}
    return OdeSystem(graph, tuple(states), zeros, zeros, id="m", name=name, quantities=quantities)


def reduction(n: int = 12, m: int = 4, certificate=None) -> ReducedSystem:
    """Lump i holds the states i, i + m, i + 2m, … with coefficients ±1, ±2, …"""
    states = [f"S{i}" for i in range(n)]
    original = system(states, HOSTILE)
    rows = tuple({j: Fraction((-1) ** (j // m) * (j // m + 1), 1 + i) for j in range(i, n, m)} for i in range(m))
    lumps = tuple(Lump(f"lump{i}", {states[j]: value for j, value in row.items()}) for i, row in enumerate(rows))
    matrix = LumpingMatrix(tuple(states), rows)
    proof = certificate or ExactProof("Statement with <angle> brackets.", "identity-test", 1e-30, primes=(5, 7))
    observable = Observable("lump0", original.graph.symbol("S0"), HOSTILE)
    reduced = system([lump.id for lump in lumps])
    return ReducedSystem(
        original, reduced, (observable,), lumps, LinearLumping(matrix, matrix), proof, "exact", {"lump": 0.25}
    )


def report(names: tuple[str, ...] = ("lump0", "other"), *, broken: bool = False) -> ErrorReport:
    times = np.linspace(0.0, 10.0, 21)
    original = {name: np.exp(-times) * (i + 1) for i, name in enumerate(names)}
    reduced = {name: q * (1 + 1e-9 * times) for name, q in original.items()}
    if broken:
        original[names[0]][0] = math.nan
    errors = quantity_errors(original, reduced)
    worst = [max(getattr(e, f) for e in errors.values()) for f in errors[names[0]].__slots__]
    return ErrorReport(
        10.0, "chosen because <b>", times, original, reduced, errors, *worst, 0.5, 0.002, remarks=("R&D",)
    )


class Page(HTMLParser):
    """Checks that elements nest, and collects tags, ids, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(tmp_path, *args, **names) -> tuple[str, Page]:
    text = write_model_page(tmp_path / "page", *args, **names).read_text(encoding="utf-8")
    return text, Page(text)


def test_the_page_holds_what_it_must(tmp_path):
    command = ["sbmlump", "reduce", "a model.xml", "--observe", "A + B"]
    _, page = page_of(
        tmp_path, reduction(), report(), original_file="a model.xml", reduced_file="r.xml", command=command
    )
    for wanted in [
        "12 → 4", "proved", "10⁻³⁰", "Statement with <angle> brackets.", "End time: chosen because <b>",
        "sbmlump reduce 'a model.xml' --observe 'A + B'", "simulate the original", "0.5 s", "2 ms", "R&D", "r.xml",
        "S0 − 2·S4 + 3·S8", "1/2 × (S1 − 2·S5 + 3·S9)", "Difference: the weighted sum of",
    ]:  # fmt: skip
        assert wanted in page.text
    headings = [tag for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2", "h3"}
    assert headings[1] == "h2"


def test_nothing_of_the_model_becomes_markup(tmp_path):
    text, page = page_of(tmp_path, reduction(), report())
    assert HOSTILE in page.text
    assert "alert(" not in "".join(re.findall(r"<script>(.*?)</script>", text, re.DOTALL))
    assert [tag for tag, _ in page.tags].count("script") == 1
    text, page = page_of(
        tmp_path,
        reduction(),
        None,
        original_file=HOSTILE,
        reduced_file=f"{HOSTILE}.xml",
        command=[HOSTILE],
        notes=[HOSTILE],
    )
    assert [tag for tag, _ in page.tags].count("script") == 1


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    text, page = page_of(tmp_path, reduction(), report())
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "img")
        for key in ("src", "href", "xlink:href"):
            value = attributes.get(key)
            assert value is None or value.startswith(("#", "data:"))
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_references_lead_somewhere(tmp_path):
    text, page = page_of(tmp_path, reduction(), report())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    assert referred
    assert referred <= set(ids)


def test_pictures_and_tables_can_be_heard(tmp_path):
    _, page = page_of(tmp_path, reduction(), report())
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 5  # networks, a trajectory, the errors, the matrix
    assert all(a["role"] == "img" and a["aria-label"] for a in pictures)
    assert all(a.get("scope") in ("col", "row") for tag, a in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags


def test_the_same_input_gives_the_same_bytes_whole(tmp_path):
    first = write_model_page(tmp_path / "a", reduction(), report()).read_bytes()
    second = write_model_page(tmp_path / "b", reduction(), report()).read_bytes()
    assert first == second
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["index.html"]


def test_colours_of_text_follow_the_scheme_of_the_page(tmp_path):
    text, _ = page_of(tmp_path, reduction(), report())
    assert "prefers-color-scheme: dark" in text
    assert "var(--ink)" in text[text.index("<svg") :]
    svg = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not re.search(r"(fill|stroke): #0{3,6}\b", svg)


def test_a_page_without_simulation_and_with_an_estimate(tmp_path):
    estimate = ErrorEstimate("balanced", 10.0, 20, 0.1, 0.03, 0.002)
    _, page = page_of(tmp_path, reduction(certificate=estimate), None)
    assert "not simulated" in page.text
    assert "estimated, not bounded" in page.text
    assert "proved" not in page.text
    assert "Worst relative error 0.03, median 0.002" in page.text


def test_an_unknown_error_is_called_unknown(tmp_path):
    _, page = page_of(tmp_path, reduction(), report(broken=True))
    assert "unknown" in page.text


@pytest.mark.parametrize("count", [1, 2, 3, 5, 13, 30])
def test_any_number_of_observables_is_drawn(tmp_path, count):
    _, page = page_of(tmp_path, reduction(), report(tuple(f"q{i}" for i in range(count))))
    assert page.text.count("original") > 0
    assert ("further quantities" in page.text) == (count > 12)


def test_long_lumps_fold(tmp_path):
    _, page = page_of(tmp_path, reduction(60, 2), None)
    assert "details" in {tag for tag, _ in page.tags}
    assert "all 30 members" in page.text


@pytest.mark.parametrize(("n", "m"), [(1, 1), (23, 5), (80, 70), (1200, 500)])
def test_matrices_of_any_size_are_drawn(n, m):
    r = reduction(n, m)
    picture = matrix_svg(r.matrix, [lump.id for lump in r.lumps])
    root = ET.fromstring(picture.svg)
    assert root.get("viewBox")
    assert len(picture.svg) < 400_000
    assert ("Each pixel stands for" in picture.note) == (n > 480 or m > 240)


def test_combinations_first_states_that_stay_in_one_line(tmp_path):
    one = reduction(12, 4)
    kept = replace(one, lumps=(*one.lumps[:3], Lump("lump3", {"lump3": Fraction(1)})))
    _, page = page_of(tmp_path, kept, None)
    assert "1 state is kept as it is" in page.text
    assert [a.get("data-filter") for tag, a in page.tags if tag == "input"] == []
    _, page = page_of(tmp_path, reduction(40, 12), None)
    assert [a.get("data-filter") for tag, a in page.tags if tag == "input"] == ["lump-table"]


def test_what_vanished_is_listed(tmp_path):
    one = reduction(14, 4)
    rows = tuple({j: v for j, v in row.items() if j < 8} for row in one.matrix.rows)
    matrix = LumpingMatrix(one.matrix.states, rows)
    lumps = tuple(
        Lump(lump.id, {one.matrix.states[j]: v for j, v in row.items()})
        for lump, row in zip(one.lumps, rows, strict=True)
    )
    _, page = page_of(tmp_path, replace(one, map=LinearLumping(matrix, matrix), lumps=lumps), None)
    assert (
        "6 states are left out because they do not influence what is observed: S8, S9, S10, S11 and 2 more."
        in page.text
    )
    assert "All 6 states that are left out" in page.text
    assert "S13" in page.text


def test_a_target_that_was_not_reached_is_the_first_thing_said(tmp_path):
    missed = replace(reduction(), reasons=(Reason("target-not-reached", "the smallest that was found has 4 states"),))
    _, page = page_of(tmp_path, missed, None)
    assert "Not what was asked for. The smallest that was found has 4 states" in page.text
    assert "no model was written" in page.text
    _, page = page_of(tmp_path, missed, None, reduced_file="best.xml")
    assert "no model was written" not in page.text
    _, page = page_of(tmp_path, reduction(), None)
    assert "Not what was asked for" not in page.text


def test_coordinates_are_called_so(tmp_path):
    one = reduction(certificate=ErrorEstimate("balanced", 10.0, 20, 0.1, 0.03, 0.002))
    way = AffineLumping(one.matrix, one.matrix)
    _, page = page_of(tmp_path, replace(one, map=way), None)
    assert "coordinates, not species" in page.text
    assert "control analysis" in page.text
    assert "mostly S8 (64 %)" in page.text
    assert "control analysis" not in page_of(tmp_path, reduction(), None)[1].text


def test_counts_are_those_of_the_file_that_was_written(tmp_path):
    source = Path(__file__).parents[2] / "data" / "multisite_3.xml"
    outcome = run_reduction(source, ["kinase"], reduce_options(check=False))
    text = write_outcome_page(tmp_path, outcome, original_file=source).read_text(encoding="utf-8")
    page = Page(text)
    written = sbmlump.load(tmp_path / "reduced.xml")
    assert f"reactions 288 {len(written.reactions)}" in page.text
    assert len(written.reactions) > 0
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "reduced.xml", "reduced.ant", "lumping.csv"}
    assert {a["href"] for tag, a in page.tags if tag == "a" and "download" in a} == {
        "reduced.xml",
        "reduced.ant",
        "lumping.csv",
    }
    # again: what is ours may be replaced
    write_outcome_page(tmp_path, outcome, original_file=source)
    # and what is not stays
    (tmp_path / "reduced.xml").write_text("mine", encoding="utf-8")
    again = write_outcome_page(tmp_path, outcome, original_file=source).read_text(encoding="utf-8")
    assert (tmp_path / "reduced.xml").read_text(encoding="utf-8") == "mine"
    assert "was not written by sbmlump" in Page(again).text


def test_what_is_typed_elsewhere_names_the_file(tmp_path):
    _, page = page_of(tmp_path, reduction(), None, reduced_file="my model.xml")
    for wanted in ("CopasiUI 'my model.xml'", "te.loadSBMLModel('my model.xml')", 'sbml_files: ["my model.xml"]'):
        assert wanted in page.text
    assert "COPASI" not in page_of(tmp_path, reduction(), None, reduced_file="model.ode")[1].text


def test_a_deterministic_proof_says_so():
    words = certificate_words(ExactProof("S.", "expansion", 0.0, valid_for={"k": "1/10"}))
    assert any("deterministic" in sentence for sentence in words["sentences"])
    assert words["values"] == ["k = 1/10"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.25, "0.25"), (1e-9, "10⁻⁹"), (-2.5e-7, "-2.5·10⁻⁷"), (12345.0, "12345"), (math.nan, "unknown"),
     (math.inf, "∞"), (None, "unknown"), (3e12, "3·10¹²")],
)  # fmt: skip
def test_numbers_read_well(value, text):
    assert rounded(value) == text


def page_of_request(folder, *arguments):
    assert run(["reduce", *map(str, arguments), "--no-check", "-q", "--report", str(folder)]) == 0
    text = (folder / "index.html").read_text(encoding="utf-8")
    return Page(text).text


def test_what_totals_give_and_what_would_reduce_further(tmp_path, data):
    model = data / "michaelis_menten.xml"
    told = page_of_request(tmp_path / "a", model, "--observe", "S")
    assert "With the conserved totals as constants 2 of the 3 states that are left do: --on-class." in told
    told = page_of_request(tmp_path / "b", model, "--observe", "S", "--on-class")
    assert "exact + conservation" in told
    assert "One state follows from the others by conserved totals, which are constants of the reduced model" in told
    told = page_of_request(tmp_path / "c", model, "--observe", "P")
    assert "Not reduced: the method exact leaves all 4 states for P" in told
    assert "Why nothing was reduced" in told
    assert "with the conserved totals as constants 2 of the 4 states do" in told


def test_an_estimate_is_shown_by_the_error_of_its_initial_values(tmp_path, capsys, data):
    request = [data / "multisite_2.xml", "--observe", "kinase", "--method", "approximate", "--max-error", "0.05"]
    told = page_of_request(tmp_path, *request, "--until", "5")
    assert "largest relative error, 100 initial values" in told
    assert "A state of several lumps" not in told  # each is in all of them
