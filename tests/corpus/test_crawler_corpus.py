"""The crawler over the corpus, served by the stand-in that lies beside it; everything with ALL=1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_files import biomodels, sample
from crawler_mirror import (
    FAULTS,
    Mirror,
    crawl_command,
    kill_at_random,
    mirror_script,
    run_crawl,
    running_mirror,
    wrong_files,
)

from crawler import list_models, open_store, verify_store

pytestmark = pytest.mark.corpus
_STALL = 1.0
_SECONDS = 1500.0


@pytest.fixture(scope="module")
def script(corpus: Path) -> Path:
    found = mirror_script(corpus)
    if found is None:
        pytest.skip("needs the stand-in of the services, ../tools/repository_mirror.py beside the corpus")
    return found


@pytest.fixture(scope="module")
def models(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of the corpus as a folder (links)."""
    folder = tmp_path_factory.mktemp("models")
    for path in sample(biomodels(corpus), 60):
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def mirror(
    script: Path, models: Path, corpus: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Mirror]:
    faults = getattr(request, "param", "")
    systems = corpus / "ode" / "odebase"
    with running_mirror(script, models, systems, tmp_path / "log", faults, stall=_STALL) as served:
        yield served


def test_faultless_and_repeated(mirror: Mirror, models: Path, tmp_path: Path) -> None:
    count = len(list(models.iterdir()))
    command = crawl_command("biomodels", tmp_path / "s", mirror.biomodels)
    code, told, _ = run_crawl(command, _SECONDS)
    assert (code, told["wanted"], told["fetched"], told["failed"]) == (0, count, count, 0)
    assert wrong_files(tmp_path / "s", models) == []
    assert told["requests"] == len(mirror.requests())
    before = len(mirror.requests())
    code, told, _ = run_crawl(command, _SECONDS)
    assert (code, told["fetched"], told["unchanged"]) == (0, 0, count)
    assert not [each for each in mirror.requests()[before:] if "download" in each["path"]]
    assert verify_store(open_store(tmp_path / "s")).findings == ()


@pytest.mark.parametrize("mirror", [FAULTS], indirect=True)
def test_faults(mirror: Mirror, script: Path, models: Path, corpus: Path, tmp_path: Path) -> None:
    systems = corpus / "ode" / "odebase"
    with running_mirror(script, models, systems, tmp_path / "calm-log") as calm:
        _, faultless, _ = run_crawl(crawl_command("biomodels", tmp_path / "calm", calm.biomodels), _SECONDS)
    quick = ("--timeout", str(_STALL * 0.7), "--retry-wait", "0.1")
    code, told, err = run_crawl(crawl_command("biomodels", tmp_path / "s", mirror.biomodels, *quick), _SECONDS)
    assert code == 0, err
    assert told["present"] == told["wanted"] == len(list(models.iterdir()))
    assert wrong_files(tmp_path / "s", models) == []
    assert told["requests"] <= 2.2 * faultless["requests"]
    assert max(each["active"] for each in mirror.requests()) <= 2
    assert verify_store(open_store(tmp_path / "s")).findings == ()


@pytest.mark.parametrize("mirror", [FAULTS], indirect=True)
def test_killed_ten_times(mirror: Mirror, models: Path, tmp_path: Path) -> None:
    store = tmp_path / "s"
    command = crawl_command("biomodels", store, mirror.biomodels, "--retry-wait", "0.1")
    # ten kills after a twelfth of the models each at most: the crawl cannot be over before the last one
    killed = kill_at_random(command, mirror, 10, max(2, len(list(models.iterdir())) // 12))
    assert killed == 10
    assert wrong_files(store, models) == []
    code, told, err = run_crawl(command, _SECONDS)
    assert code == 0, err
    assert told["present"] == len(list(models.iterdir())) == len(list_models(store))
    assert wrong_files(store, models) == []
    assert list((store / "tmp").iterdir()) == []
    assert verify_store(open_store(store)).findings == ()


@pytest.mark.parametrize("mirror", ["gone:.05," + FAULTS], indirect=True)
def test_gone_models_are_records(mirror: Mirror, models: Path, tmp_path: Path) -> None:
    command = crawl_command("biomodels", tmp_path / "s", mirror.biomodels, "--retry-wait", "0.1")
    code, told, err = run_crawl(command, _SECONDS)
    assert code == 0, err
    assert told["present"] + told["failed"] == told["wanted"] == len(list(models.iterdir()))
    assert {reason["code"] for reason in told["reasons"]} == {"gone"}
    records = open_store(tmp_path / "s").of("biomodels")
    for reason in told["reasons"]:
        assert records[reason["element"]].reason is not None
        assert not (tmp_path / "s" / reason["element"]).exists()
    assert wrong_files(tmp_path / "s", models) == []


def test_odebase_agrees_with_the_reader(script: Path, corpus: Path, tmp_path: Path) -> None:
    """Every system whose SBML file is in the corpus: an independent translation of the same file."""
    systems = corpus / "ode" / "odebase"
    both = [path.stem for path in sorted(systems.glob("*.ode")) if (corpus / "biomodels" / f"{path.stem}.xml").exists()]
    store = tmp_path / "s"
    with running_mirror(script, corpus / "biomodels", systems, tmp_path / "log", FAULTS, stall=_STALL) as mirror:
        code, told, err = run_crawl(crawl_command("odebase", store, mirror.odebase, "--retry-wait", "0.1"), _SECONDS)
        assert code == 0, err
        assert told["present"] == told["wanted"] >= len(both) > 0
        ids = ("--ids", ",".join(both), "--retry-wait", "0.1")
        code, _, err = run_crawl(crawl_command("biomodels", store, mirror.biomodels, *ids), _SECONDS)
        assert code == 0, err
    command = [*crawl_command("compare", store, "")[:5], str(store), "--json"]
    code, told, err = run_crawl(command, _SECONDS)
    assert code == 0, err
    verdicts = {each["id"]: each["verdict"] for each in told["systems"]}
    assert [id for id in both if verdicts[id] != "agrees"] == []
