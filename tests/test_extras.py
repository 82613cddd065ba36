"""What is said, and what still works, where a package of an extra is not installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sbmlump.dynamics import StepControl, adjoints, field_of, integrate
from sbmlump.examples import ring

DATA = Path(__file__).parents[1] / "data"
MODEL = str(DATA / "michaelis_menten.xml")
EVENT = """<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model id="m">
<listOfParameters><parameter id="x" value="1" constant="false"/></listOfParameters>
<listOfRules><rateRule variable="x"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><minus/><ci>x</ci></apply>
</math></rateRule></listOfRules>
<listOfEvents><event useValuesFromTriggerTime="true"><trigger initialValue="true" persistent="true">
<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><lt/><ci>x</ci><cn>0.5</cn></apply></math></trigger>
<listOfEventAssignments><eventAssignment variable="x"><math xmlns="http://www.w3.org/1998/Math/MathML"><cn>1</cn></math>
</eventAssignment></listOfEventAssignments></event></listOfEvents></model></sbml>"""


def without(folder: Path, package: str, *arguments: str) -> tuple[int, dict[str, object]]:
    """Run a command where a package cannot be imported, in its children neither."""
    text = f"import sys\nsys.modules[{package!r}] = None\n"
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "sbmlump", *arguments, "--json"],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
    )
    return done.returncode, json.loads(done.stdout)


def test_surveys_need_pyarrow(tmp_path):
    code, answer = without(tmp_path, "pyarrow", "survey", str(DATA), "-o", str(tmp_path / "out"))
    assert (code, answer["outcome"]) == (2, "failed")
    (reason,) = answer["reasons"]
    assert reason["code"] == "extra-missing"
    assert "pip install 'sbmlump[survey]'" in reason["message"]
    code, answer = without(tmp_path, "pyarrow", "survey-report", str(tmp_path))
    assert code in (2, 3)


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("antimony", "antimony", ["convert", MODEL, "-o", "OUT.ant"]),
        ("COPASI", "copasi", ["check", MODEL, MODEL, "--simulator", "copasi"]),
    ],
)
def test_formats_and_simulators_name_their_extra(tmp_path, package, extra, arguments):
    arguments = [str(tmp_path / "out.ant") if one == "OUT.ant" else one for one in arguments]
    code, answer = without(tmp_path, package, *arguments)
    assert (code, answer["outcome"]) == (1, "unsupported")
    assert [reason["code"] for reason in answer["reasons"]] == ["extra-missing"]
    assert f"pip install 'sbmlump[{extra}]'" in answer["reasons"][0]["message"]
    assert not (tmp_path / "out.ant").exists()


def test_own_simulations_without_cvode(tmp_path):
    code, answer = without(tmp_path, "sksundae", "check", MODEL, MODEL, "--simulator", "own", "--until", "10")
    assert code == 0
    assert answer["max_relative_error"] == 0.0
    assert any("pip install 'sbmlump[cvode]'" in reason["message"] for reason in answer["reasons"])
    path = tmp_path / "event.xml"
    path.write_text(EVENT, encoding="utf-8")
    code, answer = without(tmp_path, "sksundae", "check", str(path), str(path), "--simulator", "own", "--until", "3")
    assert (code, answer["outcome"]) == (1, "unsupported")
    assert [reason["code"] for reason in answer["reasons"]] == ["extra-missing"]


@pytest.mark.parametrize("package", ["sksundae", "numba"])
def test_small_models_are_reduced_approximately_without(tmp_path, package):
    code, answer = without(
        tmp_path,
        package,
        "reduce",
        MODEL,
        "--observe",
        "P",
        "--method",
        "approximate",
        "--max-error",
        "0.5",
        "--no-check",
    )
    assert code == 0
    assert "cvode-missing" not in [reason["code"] for reason in answer["reasons"]]


def test_large_systems_go_through_the_method_of_small_ones_without_cvode(monkeypatch):
    system = ring(130, backward=2)
    field = field_of(system.graph, system.rhs, system.states, system.constant_values)
    times, start = np.linspace(0.0, 2.0, 9), np.linspace(0.0, 1.0, 130)[None]
    tight = StepControl(1e-8, 1e-10)
    gradient = np.eye(130)[None, :1]
    answers = []
    for installed in (True, False):
        if not installed:
            monkeypatch.setitem(sys.modules, "sksundae", None)
        runs = integrate(field, start, times, tolerances=tight)
        assert runs.complete.all()
        answers.append((runs.states, adjoints(field, 0, times, runs.states[0], None, np.array([8]), gradient)))
    np.testing.assert_allclose(answers[1][0], answers[0][0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(answers[1][1], answers[0][1], atol=5e-3)
