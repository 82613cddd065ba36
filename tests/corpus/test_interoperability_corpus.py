"""What other tools make of a few reduced published models; docs/make_interoperability.py does it for 100."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import random
from pathlib import Path

import pytest
from corpus_files import biomodels, corpus_folder
from interoperability import Result, examine, reducible_observable

pytestmark = pytest.mark.corpus
_FOLDER = corpus_folder()
_SECONDS = 120.0
_MODELS = 5


def _worker(path: Path, pipe: multiprocessing.connection.Connection) -> None:
    reduction = reducible_observable(path)
    pipe.send(None if reduction is None else examine(path, reduction))


def _examined(path: Path) -> Result | None:
    """In a child: Tellurium's libraries and libSBML do not always live well in one process."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.Process(target=_worker, args=(path, theirs))
    child.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(_SECONDS) else None
    finally:
        child.kill()
        child.join()


@pytest.mark.skipif(_FOLDER is None, reason="needs a corpus of published models: set SBMLUMP_CORPUS to its folder")
def test_other_tools_take_reduced_models_as_their_own() -> None:
    assert _FOLDER is not None
    for name in ("basico", "tellurium", "libcombine", "libsedml"):
        pytest.importorskip(name) if name == "basico" else _needs(name)
    files = biomodels(_FOLDER)
    random.Random(7).shuffle(files)
    results: list[Result] = []
    for path in files:
        result = _examined(path)
        if result is not None:
            results.append(result)
        if len(results) == _MODELS:
            break
    assert len(results) == _MODELS
    for result in results:
        assert result.errors == 0, result
        assert result.verified, result
        assert not result.new_warnings, result
        assert result.within in (True, None), result
        assert result.tellurium in (True, None), result
    assert sum(result.form == "reactions" for result in results) >= 0.6 * len(results)


def _needs(name: str) -> None:
    import importlib.util

    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
