"""What a modeller meets in the first hour: nothing misleads, each mistake gets a sentence that says what to do."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest
from click.shell_completion import ShellComplete

import sbmlump
from sbmlump.cli import cli, output
from sbmlump.methods import METHODS
from sbmlump.model import parse_observables

WEB_PAGE = "<!DOCTYPE html>\n<html><head><meta charset=utf-8><title>404</title></head><body>Not found</body></html>\n"


@pytest.fixture
def model(data, tmp_path):
    path = tmp_path / "model.xml"
    shutil.copy(data / "michaelis_menten.xml", path)
    return path


# -- an observable with a formula is in the file, whatever became of the model ----------------------------


@pytest.mark.parametrize("check", [[], ["--no-check"]])
@pytest.mark.parametrize(
    "method",
    ["exact", "forward-equivalence", "backward-equivalence", "conservation", "pooling", "none", "exact+conservation"],
)
def test_a_formula_survives_when_nothing_can_be_removed(call, model, tmp_path, method, check):
    """Every state of S + 2E, ES and P is needed, and yet the file has to hold the sum that was asked for."""
    out = tmp_path / "out.xml"
    wanted = ["--observe", "total = S + 2*E", "--observe", "ES", "--observe", "P"]
    code, _, err = call("reduce", model, *wanted, "--method", method, "-o", out, "--until", "1", *check)
    assert code == 0, err
    system, original = sbmlump.load(out), sbmlump.load(model)
    start = original.at_start()
    value = original.graph.number_of(start["S"]) + 2 * original.graph.number_of(start["E"])
    assert system.graph.number_of(system.at_start()["total"]) == value


@pytest.mark.parametrize("suffix", [".ode", ".ant", ".omex"])
def test_a_formula_survives_in_other_formats(call, model, tmp_path, suffix):
    if suffix == ".ant":
        pytest.importorskip("antimony", reason="the extra antimony is not installed")
    out = tmp_path / f"out{suffix}"
    flags = ["--observe", "total = S + 2*E", "--observe", "ES", "--observe", "P", "--no-check", "-o", out]
    assert call("reduce", model, *flags)[0] == 0
    assert "total" in sbmlump.load(f"{out}#reduced.xml" if suffix == ".omex" else out).definitions


def test_a_formula_survives_in_python(model, tmp_path):
    reduction = sbmlump.reduce(sbmlump.load(model), ["total = S + 2*E", "ES", "P"])
    assert not reduction.reducible
    assert "total" in reduction.system.definitions
    reduction.write(tmp_path / "out.xml")
    assert "total" in sbmlump.load(tmp_path / "out.xml").definitions


# -- what was not reached, and what would reduce ----------------------------------------------------------


def test_a_target_that_is_not_reached_is_no_success(call, model, tmp_path):
    out = tmp_path / "out.xml"
    request = ["reduce", model, "--observe", "S", "--method", "approximate", "--max-size", "1", "--max-error", "1e-6"]
    request += ["--until", "20", "--no-check", "-o", out]
    code, told, _ = call(*request)
    assert (code, out.exists()) == (4, False)
    assert told.startswith("not reached: ")
    assert "no model was written (--best writes this one)" in told
    code, told, _ = call(*request, "--best")
    assert (code, out.exists()) == (4, True)
    assert "It is not what was asked for: no reduction with at most 1 states" in out.read_text()


def test_every_state_is_needed_only_where_that_is_true(call, model):
    _, told, _ = call("reduce", model, "--observe", "S", "--observe", "ES", "--observe", "E", "--observe", "P")
    assert "with the conserved totals as constants 2 of the 4 states do: --on-class" in told
    _, told, _ = call(
        "reduce", model, "--observe", "S", "--observe", "ES", "--observe", "E", "--observe", "P", "--on-class"
    )
    assert "4 states reduced to 2" in told


def test_conserved_totals_of_what_is_left_are_told(call, data):
    """After a reduction, too, and by how much: the size that the command then gives."""
    request = ["reduce", data / "multisite_2.xml", "--observe", "kinase", "--no-check", "--json"]
    found = json.loads(call(*request)[1])
    (told,) = (one["message"] for one in found["reasons"] if one["code"] == "conserved-totals")
    left = json.loads(call(*request, "--on-class")[1])
    assert (
        f"constants {left['reduced_size']} of the {found['reduced_size']} states that are left do: --on-class" in told
    )
    assert left["reduced_size"] < found["reduced_size"]
    assert [one["code"] for one in left["reasons"]].count("conserved-totals") == 0


def test_without_conserved_totals_every_state_is_needed(call, data):
    _, told, _ = call("reduce", data / "rational_example.xml", "--observe", "x1", "--observe", "x2", "--observe", "x3")
    assert "every state is needed to keep the observables exactly; observe fewer" in told
    assert "on-class" not in told


def test_sums_of_states_and_other_combinations_are_told_apart(call, data):
    """No sums of states do (their weights differ), and the smallest exact lumping says by how much others do."""
    _, told, _ = call("reduce", data / "clue_example.xml", "--observe", "x1", "--method", "forward-equivalence")
    assert "no sums of states keep the observables exactly; with other combinations of them 2 states do" in told


def test_a_constant_that_is_observed_is_told(call, model):
    system = sbmlump.load(model)
    name = system.constants[0].id
    _, told, _ = call("reduce", model, "--observe", name, "--no-check")
    assert f"{name} is a constant of the model" in told
    assert "observe something that changes" in told


def test_nothing_written_is_said(call, model, tmp_path):
    _, told, _ = call("reduce", model, "--observe", "S", "--until", "1")
    assert "nothing was written; -o reduced.xml writes the model" in told
    _, told, _ = call("reduce", model, "--observe", "S", "--until", "1", "--report", tmp_path / "page")
    assert "nothing was written" not in told


def test_a_useless_row_of_a_curve_is_explained(call, model):
    _, told, _ = call("curve", model, "--observe", "S", "--algorithm", "krylov", "--until", "20")
    assert "krylov: an error of about 1 (size 1, 2) says that what is observed is not followed at all" in told


# -- help and completion ----------------------------------------------------------------------------------


def test_help_is_whole_and_in_sections(call):
    _, told, _ = call("--help")
    assert "..." not in told.partition("Commands:")[2]
    assert "Prove or refute, without simulation, that REDUCED is an exact lumping of ORIGINAL." in " ".join(
        told.split()
    )
    _, told, _ = call("reduce", "--help")
    titles = [line for line in told.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == [
        "Methods:", "What to keep:", "How:", "What is written:", "Methods approximate and learned:", "Other methods:",
        "Comparison by simulation:", "Printing and limits:",
    ]  # fmt: skip
    assert "Examples:\n    sbmlump reduce model.xml --observe A -o reduced.xml" in told
    assert all(f"\n  {name} " in told for name in METHODS)
    _, told, _ = call("survey", "--help")
    assert "\\b" not in told
    assert "Examples:\n    sbmlump survey models" in told


@pytest.mark.parametrize(
    ("words", "incomplete", "completed"),
    [
        (["reduce", "MODEL", "--observe"], "E", ["E", "ES"]),
        (["curve", "MODEL", "--observe", "S", "--observe"], "2*E", ["2*E", "2*ES"]),
        (["reduce", "MODEL", "--keep-parameters"], "k2,k1", ["k2,k1", "k2,k1r"]),
        (["inspect", "MODEL"], "rel", ["release"]),
        (["reduce", "no.xml", "--observe"], "E", []),
    ],
)
def test_the_shell_completes_ids_of_the_model(model, words, incomplete, completed):
    given = [str(model) if word == "MODEL" else word for word in words]
    complete = ShellComplete(cli, {}, "sbmlump", "_SBMLUMP_COMPLETE").get_completions(given, incomplete)
    assert [item.value for item in complete] == completed


# -- Python -----------------------------------------------------------------------------------------------


def test_a_text_is_one_observable(model):
    system = sbmlump.load(model)
    assert [one.id for one in sbmlump.reduce(system, observe="ES").observables] == ["ES"]
    assert [one.id for one in parse_observables(system, "ES")] == ["ES"]
    for found in (sbmlump.compare_methods(model, "ES", "exact"), sbmlump.compare_methods(system, "ES", "exact")):
        assert found.as_json()["observables"] == ["ES"]
    assert sbmlump.curve(system, "ES", "balanced", max_size=1, until=1.0).title.endswith(": ES")
    assert sbmlump.inspect(system).states == sbmlump.inspect(model).states == 4


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("model.xml", "sbmlump.reduce(sbmlump.load('model.xml'), observe=…)"),
        ("<sbml></sbml>", "this is the text of a model"),
        (None, "not a NoneType; sbmlump.load(file) gives one"),
    ],
)
def test_reduce_says_what_it_takes(given, advice):
    with pytest.raises(sbmlump.UsageError, match="an OdeSystem is wanted") as caught:
        sbmlump.reduce(given, "S")
    assert advice in str(caught.value)


def test_what_is_no_file_is_told(model):
    system = sbmlump.load(model)
    with pytest.raises(sbmlump.UsageError, match="an OdeSystem is wanted: this is a reduction"):
        sbmlump.reduce(sbmlump.reduce(system, "S"), "S")
    with pytest.raises(sbmlump.UsageError, match="the name of a file is wanted, not of type OdeSystem"):
        sbmlump.compare(system, model)
    with pytest.raises(sbmlump.InputError, match="this is the text of a model"):
        sbmlump.load(model.read_text())


def test_compare_shows_the_observables_first(model, tmp_path):
    reduction = sbmlump.reduce(sbmlump.load(model), ["both = ES + P", "P"], method="conservation")
    reduction.write(tmp_path / "out.xml")
    report = sbmlump.compare(model, tmp_path / "out.xml", until=5.0)
    assert list(report.per_observable)[:2] == ["both", "P"]
    assert len(report.per_observable) > 2
    assert report.max_relative_error < 1e-6
    titles = [axes.get_title(loc="left") for axes in report.plot().axes]
    assert "both" in titles[0]


# -- files that are none ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [WEB_PAGE, WEB_PAGE.lower(), "<html><p>404", '<?xml version="1.0"?>\n<!-- x -->' + WEB_PAGE]
)
def test_a_web_page_is_called_one(call, tmp_path, text):
    page = tmp_path / "model.xml"
    page.write_text(text)
    code, _, err = call("inspect", page)
    assert code == 3
    assert "is a web page (HTML), not a model" in err
    assert "doctype" not in err


def test_a_summary_is_short(call, data, tmp_path, monkeypatch):
    """Of coordinates three, of what is not kept a few kinds: what a person has to read is not buried."""
    request = ["reduce", data / "multisite_2.xml", "--observe", "kinase", "--no-check"]
    _, told, _ = call(*request, "--method", "approximate", "--max-size", "6", "--until", "5")
    assert told.count("A coordinate, not a species") <= 3
    text = (data / "multisite_2.xml").read_text()
    marked = re.sub(
        r"<(species|speciesReference|reaction|kineticLaw) ", lambda m: f'{m[0]}metaid="m{m.start()}" ', text
    )
    (tmp_path / "marked.xml").write_text(marked)
    request = ["reduce", tmp_path / "marked.xml", "--observe", "kinase", "--no-check", "-o", tmp_path / "out.xml"]
    lost = [one for one in json.loads(call(*request, "--json")[1])["reasons"] if one["code"] == "not-kept"]
    told = [line for line in call(*request)[1].splitlines() if line.startswith("not kept: ")]
    assert len(lost) == len(told) == 2
    monkeypatch.setattr(output, "DISPLAY", replace(output.DISPLAY, not_kept=1))
    told = [line for line in call(*request)[1].splitlines() if line.startswith("not kept: ")]
    assert told == [lost[0]["message"], "not kept: … and 1 more (--json lists them)"]


def test_what_follows_from_totals_is_told(call, data):
    _, told, _ = call("reduce", data / "michaelis_menten.xml", "--observe", "S", "--on-class", "--no-check")
    assert "  computed from these: E (enzyme)" in told.splitlines()
    assert "  gone, without influence on what is kept: P (product)" in told.splitlines()
