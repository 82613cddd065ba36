"""What all tests share: profiles of hypothesis, the corpus, and samples of it."""

from __future__ import annotations

import os
import signal

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before NumPy is imported; the workers of pytest-xdist share the cores
os.environ.setdefault("MPLBACKEND", "Agg")

# a shell that runs the tests in the background has interrupts ignored, and tests of interrupts press them
signal.signal(signal.SIGINT, signal.default_int_handler)

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from corpus_files import biomodels, corpus_folder, ode_files, sample, suite_cases  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

DATA = Path(__file__).resolve().parent.parent / "data"

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]
# `ci` gives the same examples every time, so a failure is a change of the code; `long` looks further.
settings.register_profile(
    "ci", derandomize=True, database=None, deadline=None, max_examples=50, suppress_health_check=_SLOW_IS_FINE
)
settings.register_profile("long", deadline=None, max_examples=2000, suppress_health_check=_SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_NO_CORPUS = "needs a corpus of published models: set SBMLUMP_CORPUS to its folder (make test-corpus)"
_CORPUS_ARGUMENTS = {"biomodels_file": biomodels, "ode_file": ode_files, "suite_case": suite_cases}
_DEFAULT_SAMPLE = 40


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker of samples."""
    config.addinivalue_line(
        "markers",
        f"sample(n): how many files of the corpus to take (default {_DEFAULT_SAMPLE}; all of them with ALL=1)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with an argument ``biomodels_file``, ``ode_file`` or ``suite_case`` once for each of a sample."""
    for argument, listing in _CORPUS_ARGUMENTS.items():
        if argument not in metafunc.fixturenames:
            continue
        marker = metafunc.definition.get_closest_marker("sample")
        size = marker.args[0] if marker else _DEFAULT_SAMPLE
        folder = corpus_folder()
        if folder is None:
            missing = pytest.param(None, marks=[pytest.mark.corpus, pytest.mark.skip(reason=_NO_CORPUS)])
            metafunc.parametrize(argument, [missing], ids=["no-corpus"])
        else:
            paths = sample(listing(folder), size)
            names = [path.name.removesuffix(".xml") for path in paths]
            metafunc.parametrize(argument, [pytest.param(path, marks=pytest.mark.corpus) for path in paths], ids=names)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``corpus`` whatever uses the corpus or lies in tests/corpus."""
    for item in items:
        if "corpus" in getattr(item, "fixturenames", ()) or "corpus" in item.path.parts[-2:-1]:
            item.add_marker(pytest.mark.corpus)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder named by SBMLUMP_CORPUS, with ``biomodels``, ``ode`` and ``sbml-test-suite``; skips without it."""
    folder = corpus_folder()
    if folder is None:
        pytest.skip(_NO_CORPUS)
    return folder


@pytest.fixture(scope="session")
def data() -> Path:
    """The project's own models, ``data/``."""
    return DATA
