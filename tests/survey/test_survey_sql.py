"""The SQL of the documentation and of the page runs, and says what the rows say."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
import survey_jobs as jobs

from sbmlump.report import write_survey_page
from sbmlump.survey import SCHEMA, SurveyRequest, read_identity, read_rows, run_survey

duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "survey.md"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A finished survey in ``results``, the folder that the documentation speaks of."""
    models = jobs.write_models(tmp_path / "in", ["one", "two"])
    run_survey(SurveyRequest(models, tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def test_the_example_of_the_documentation(results):
    examples = re.findall(r"```sql\n(.*?)```", DOCUMENTATION.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert examples
    found = [duckdb.sql(example).fetchall() for example in examples]
    ratios = [row["ratio"] for row in read_rows(results) if row["outcome"] == "reduced"]
    assert found[0] == [("polynomial", 2, pytest.approx(sum(ratios) / len(ratios)))]


def test_the_example_on_the_page(results, monkeypatch):
    page = write_survey_page(results, read_identity(results), read_rows(results))
    monkeypatch.chdir(results)
    example = html.unescape(
        re.search(r"<pre><code>(SELECT.*?)</code>", page.read_text(encoding="utf-8"), flags=re.DOTALL)[1]
    )
    best = {row[0]: row[-1] for row in duckdb.sql(example).fetchall()}
    assert best == {"one": min(row["ratio"] for row in read_rows(results)), "two": best["one"]}


def test_every_column_is_documented():
    table = DOCUMENTATION.read_text(encoding="utf-8").split("## Columns")[1].split("```")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", table, flags=re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"`([a-z_0-9]+)`", cell)]
    assert sorted(documented) == sorted(SCHEMA.names)
