"""An approximate reduction is never worse than the exact one, and says from how many fresh initial values it holds."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from written_files import holds_in_files

import sbmlump
from sbmlump.cli import run
from sbmlump.errors import LimitError, SbmlumpError
from sbmlump.examples import multisite
from sbmlump.methods import Approximate, oscillation_errors
from sbmlump.model import ErrorEstimate, ExactProof, FreshErrors, Graph, OdeSystem, parse_observables
from sbmlump.sbml import write_reduction, write_system


def reduced(system: OdeSystem, observe: str, **options: object) -> sbmlump.ReducedSystem:
    return Approximate(**{"ensemble": 8, **options}).reduce(system, parse_observables(system, [observe]))


def threshold(barrier: float) -> OdeSystem:
    """x' = x(x − barrier) from 1: what begins above the barrier blows up; a chain of three follows it."""
    g = Graph()
    x, a, b, c = (g.symbol(name) for name in "xabc")
    rhs = (
        g.mul((x, g.sub(x, g.decimal(barrier)))),
        g.sub(x, a),
        g.mul((g.number(50), g.sub(a, b))),
        g.mul((g.number(70), g.sub(b, c))),
    )
    return OdeSystem(g, ("x", "a", "b", "c"), (g.number(1), g.number(1), g.number(1), g.number(1)), rhs)


def powers() -> OdeSystem:
    """A chain of six with flows x^1.5: the lifted states of a reduction become negative."""
    g = Graph()
    states = [g.symbol(f"x{i}") for i in range(6)]
    flows = [g.mul((g.decimal(1.0 + 0.1 * i), g.pow(x, g.decimal(1.5)))) for i, x in enumerate(states)]
    rhs = [g.neg(flows[0]), *(g.sub(before, own) for before, own in itertools.pairwise(flows))]
    names = tuple(f"x{i}" for i in range(6))
    return OdeSystem(g, names, (g.number(1), *(g.number(0) for _ in range(5))), tuple(rhs))


def instead(found: sbmlump.ReducedSystem) -> str:
    (reason,) = (reason for reason in found.reasons if reason.code == "exact-instead")
    return reason.message


def test_where_nothing_smaller_is_found_the_exact_lumping_is_given() -> None:
    system = multisite(2)  # symmetric: 18 states, exactly 6
    exact = sbmlump.reduce(system, "kinase")
    found = reduced(system, "kinase", until=2.0, max_error=1e-15)
    assert isinstance(found.certificate, ExactProof)
    assert found.method == "approximate"
    assert found.system.size == exact.system.size < system.size
    assert f"the exact lumping to {exact.system.size} states" in instead(found)
    # overlapping lumps have signs
    positive = reduced(system, "kinase", until=2.0, max_error=1e-15, non_negative=True)
    assert positive.system.size == system.size
    assert f"Nothing smaller than the exact lumping to {exact.system.size} states".encode() in write_reduction(found)


def test_where_nothing_reduces_the_model_itself_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = Graph()
    x, v = g.symbol("x"), g.symbol("v")
    file = tmp_path / "oscillator.xml"
    file.write_bytes(write_system(OdeSystem(g, ("x", "v"), (g.number(1), g.number(0)), (v, g.neg(x)), id="oscillator")))
    words = ["reduce", str(file), "--observe", "x", "--method", "approximate", "--no-check", "--json"]
    assert run([*words, "-o", str(tmp_path / "same.xml")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["reduced_size"]) == ("not-reducible", 2)
    assert (found["method"], found["certificate"]["kind"]) == ("approximate", "exact-proof")
    assert "the model itself" in next(r["message"] for r in found["reasons"] if r["code"] == "exact-instead")
    again = sbmlump.load(tmp_path / "same.xml")
    assert again.rates(0.0, np.array([0.3, 0.7])) == pytest.approx([0.7, -0.3])


def test_initial_values_from_which_the_original_fails_are_dropped() -> None:
    """A fifth of the draw lies above the barrier: it is left out, and that is said."""
    found = reduced(threshold(1.12), "c", until=20.0, max_error=0.3)
    assert isinstance(found.certificate, ErrorEstimate)
    assert found.certificate.details["dropped_initial_values"] > 0
    assert any("cannot be integrated to 20" in remark for remark in found.remarks)
    assert found.certificate.fresh is not None
    assert found.certificate.fresh.initial_values >= 100


def test_an_end_time_that_nobody_asked_for_is_shortened() -> None:
    """Half of the draw blows up, after a while: an end time before that, or the exact lumping where one was given."""
    found = reduced(threshold(1.005), "c", max_error=0.3, ensemble=24)
    assert isinstance(found.certificate, ErrorEstimate)
    assert "shortened" in found.certificate.details["horizon_reason"]
    assert found.certificate.horizon < 20
    asked = reduced(threshold(1.005), "c", until=60.0, ensemble=24)
    assert isinstance(asked.certificate, ExactProof)
    assert "perturbed initial state" in instead(asked)


def test_an_end_time_that_the_original_does_not_reach_is_refused() -> None:
    with pytest.raises(LimitError) as caught:
        reduced(threshold(0.5), "c", until=60.0)
    assert [reason.code for reason in caught.value.reasons] == ["not-simulated"]


def test_a_decomposition_that_does_not_converge_is_tried_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    system = multisite(2, noise=Fraction(1, 20), seed=3)
    usual = reduced(system, "kinase", until=2.0, max_size=3)

    def diverges(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", diverges)
    other = reduced(system, "kinase", until=2.0, max_size=3)
    assert isinstance(usual.certificate, ErrorEstimate)
    assert isinstance(other.certificate, ErrorEstimate)
    assert other.certificate.worst_error == pytest.approx(usual.certificate.worst_error, rel=0.2)
    monkeypatch.setattr("scipy.linalg.svd", diverges)
    last = reduced(system, "kinase", until=2.0)
    assert isinstance(last.certificate, ExactProof)
    assert "does not converge" in instead(last) or "no reduction" in instead(last)


def test_internal_errors_are_not_taken_for_failures_of_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr("sbmlump.methods.approximate.run.write_projection", broken)
    with pytest.raises(ValueError, match="a fault"):
        reduced(multisite(2, noise=Fraction(1, 20), seed=3), "kinase", until=2.0)


def test_lifted_states_stay_in_the_domain_also_in_the_file(tmp_path: Path) -> None:
    """Powers of what became negative have no value: the file holds the clamp, and libRoadRunner agrees."""
    found = reduced(powers(), "x4", until=10.0, max_error=0.05)
    assert isinstance(found.certificate, ErrorEstimate)
    assert found.system.size < 5
    assert found.certificate.details["lowest_lifted_state"] < -0.01
    assert b"<max/>" in holds_in_files(found, tmp_path, 10.0)


def test_a_claim_holds_from_further_initial_values() -> None:
    """From 200 more, of a draw of this test: the worst error lies near the worst of the hundred."""
    system = multisite(2, noise=Fraction(1, 20), seed=3)
    found = reduced(system, "kinase", until=2.0)
    assert isinstance(found.certificate, ErrorEstimate)
    fresh = found.certificate.fresh
    assert fresh is not None
    assert (fresh.diverged, fresh.above <= 5) == (0, True)
    more = sbmlump.dynamics.measure(found, sbmlump.dynamics.EnsembleSettings(2.0, 200, 0.2, 99))
    assert more.errors.max() <= 1.5 * fresh.worst


def test_errors_of_fresh_initial_values() -> None:
    errors = np.array([0.001, 0.02, np.inf, 0.004])
    found = FreshErrors.of(errors, 0.01)
    assert (found.initial_values, found.above, found.diverged) == (4, 2, 1)
    assert found.as_json() == {"initial_values": 4, "worst": None, "median": 0.012, "above": 2, "diverged": 1}
    assert "from 1 it diverges" in found.sentence()
    assert FreshErrors.of(errors[:2], None).above == 0


@pytest.mark.parametrize("options", [{"max_size": 1, "max_error": 1e-9}, {"max_size": 1, "work": 1e-6}])
def test_too_few_states_leave_with_a_limit(options: dict[str, float]) -> None:
    with pytest.raises(SbmlumpError) as caught:
        reduced(multisite(2, noise=Fraction(1, 20), seed=3), "kinase", until=2.0, **options)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(("drift", "shape"), [(0.0, 0.0), (0.3, 0.0), (-0.2, 0.01), (0.0, 0.05)])
def test_the_phase_of_an_oscillation_is_told_apart_from_its_shape(drift: float, shape: float) -> None:
    """Ten periods of 2, of which the reduced runs are too late by a part of a period in the end, or too high."""
    times = np.unique(np.concatenate([np.geomspace(1e-4, 20.0, 100), np.linspace(0.0, 20.0, 201)]))
    expected = np.sin(np.pi * times)[None, :, None]
    got = (1 + shape) * np.sin(np.pi * (times - 2 * drift * times / 20))[None, :, None]
    found = oscillation_errors(times, got, expected, np.ones((1, 1)))
    assert found is not None
    assert found.period == pytest.approx(2.0, rel=0.02)
    assert found.drift == pytest.approx(abs(drift / (1 - drift / 10)), abs=1e-3)
    assert found.shape == pytest.approx(shape, abs=5e-3)
    assert "oscillates" in found.sentence()
    assert oscillation_errors(times, got**0, expected**0, np.ones((1, 1))) is None


def test_formulas_that_became_much_longer_are_told() -> None:
    """Twelve coupled saturating steps: six coordinates need every rate at every lifted state."""
    g = Graph()
    names = tuple(f"x{i}" for i in range(12))
    symbols = [g.symbol(name) for name in names]
    fluxes = [g.div(s, g.add((g.decimal(0.5 + 0.1 * i), s))) for i, s in enumerate(symbols)]
    rhs = tuple(g.sub(fluxes[i - 1], fluxes[i]) for i in range(12))
    system = OdeSystem(g, names, tuple(g.decimal(1.0 if i == 0 else 0.1) for i in range(12)), rhs, id="ring")
    found = reduced(system, "x3", max_size=6, until=5.0)
    told = [remark for remark in found.remarks if "longer formulas" in remark]
    assert isinstance(found.certificate, ErrorEstimate)
    assert len(told) == 1
    few = reduced(system, "x3", max_size=1, until=5.0)
    assert not any("longer formulas" in remark for remark in few.remarks)
