"""A survey of published models: every file has its rows, and sizes are those of the reductions."""

from __future__ import annotations

import hashlib

import pytest
from corpus_files import biomodels, sample

import sbmlump
from sbmlump.methods import StateSize, per_species_sizes
from sbmlump.survey import SurveyModel, SurveyRequest, read_rows, run_survey


def test_survey_of_a_sample(corpus, tmp_path):
    paths = sample(biomodels(corpus), 30)
    models = [SurveyModel(p.stem, p.name, p, hashlib.sha256(p.read_bytes()).hexdigest()) for p in paths]
    done = run_survey(SurveyRequest(models, tmp_path, workers=2))
    rows = read_rows(tmp_path)
    assert done.now == len(models) == len({row["file"] for row in rows})
    assert all(row["peak_memory_mb"] < 2048 for row in rows)
    for row in rows:
        assert row["outcome"] in ("reduced", "not-reducible") or row["reason"], row
        if row["outcome"] == "reduced":
            assert row["reduced_size"] < row["original_size"]


@pytest.mark.parametrize("name", ["BIOMD0000000182", "BIOMD0000000243", "BIOMD0000000448", "MODEL8262229752"])
def test_sizes_are_those_of_the_reductions(corpus, name):
    system = sbmlump.load(corpus / "biomodels" / f"{name}.xml")
    found = {size.state: size for size in per_species_sizes(system)}
    for state in system.states[:: max(1, system.size // 6)]:
        reduction = sbmlump.reduce(system, [state])
        size = found[state]
        assert isinstance(size, StateSize)
        assert size.size == reduction.system.size
        assert size.proper == reduction.matrix.proper
        assert size.non_negative in (None, reduction.matrix.non_negative)
