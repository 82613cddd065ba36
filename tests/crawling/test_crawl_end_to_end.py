"""Whole crawls against the loopback stand-in: right files, few requests, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crawler_standin import Model, StandIn, omex, sbml, serving, zipped

from crawler import (
    BioModels,
    CrawlError,
    CrawlSummary,
    GivenUpError,
    RequestPolicy,
    Selection,
    Session,
    Store,
    crawl,
    list_models,
    open_store,
    verify_store,
)

QUICK = RequestPolicy(rate=0, timeout=5, first_wait=0.001, longest_wait=0.01)
KINDS = ("busy", "limit", "reset", "short", "corrupt", "html", "stall")


def id_of(number: int) -> str:
    return f"BIOMD{number:010d}"


def make_world(count: int, **more: Model) -> StandIn:
    models = {
        id_of(i): Model(sbml(f"model {i}", 1 + i % 7), name=f"model {i}", sums=i % 5 != 0, revision=1 + i % 3)
        for i in range(1, count + 1)
    }
    return StandIn({**models, **more})


def fetch_all(world: StandIn, path: Path, wish: Selection | None = None, policy: RequestPolicy = QUICK) -> CrawlSummary:
    session = Session(world.url, policy=policy)
    try:
        with Store.writable(path, wait=0) as store:
            return crawl(BioModels(session), session, store, wish or Selection())
    finally:
        session.close()


def assert_right(world: StandIn, path: Path, count: int | None = None) -> None:
    """Every file is the one of the source, and there are no others."""
    files = {file.parent.name: file.read_bytes() for file in path.glob("*/*.xml")}
    assert {id: hashlib.sha256(data).hexdigest() for id, data in files.items()} == {
        id: hashlib.sha256(world.models[id].data).hexdigest() for id in files
    }
    assert len(files) == (len(world.models) if count is None else count)
    assert list((path / "tmp").iterdir()) == []


@pytest.fixture
def world() -> Iterator[StandIn]:
    with serving(make_world(12)) as served:
        yield served


def test_brings_everything_in_bulk_with_one_record_each(world: StandIn, tmp_path: Path) -> None:
    summary = fetch_all(world, tmp_path / "s")
    assert_right(world, tmp_path / "s")
    assert (summary.wanted, summary.present, summary.fetched, summary.unchanged) == (12, 12, 12, 0)
    assert summary.complete
    assert summary.misses == ()
    assert world.count("search/download") == 1
    assert world.count("model/download") == 0
    assert summary.requests == len(world.asked) == 12 + 3
    record = open_store(tmp_path / "s").of("biomodels")[id_of(2)]
    assert (record.name, record.revision, record.licence) == ("model 2", "3", "CC0-1.0")
    assert record.size == len(world.models[id_of(2)].data)


def test_repeat_asks_for_the_list_only(world: StandIn, tmp_path: Path) -> None:
    fetch_all(world, tmp_path / "s")
    world.forget()
    summary = fetch_all(world, tmp_path / "s")
    assert (summary.fetched, summary.unchanged) == (0, 12)
    assert world.count("download") == 0
    assert len(world.asked) == 2


def test_only_what_changed_is_fetched_again(world: StandIn, tmp_path: Path) -> None:
    fetch_all(world, tmp_path / "s")
    world.forget()
    touched, changed = world.models[id_of(3)], world.models[id_of(4)]
    touched.modified = changed.modified = "2025-05-05T00:00:00Z"
    changed.data, changed.revision = sbml("another", 9), 8
    summary = fetch_all(world, tmp_path / "s")
    assert (summary.fetched, summary.unchanged) == (1, 11)
    assert world.count("model/download") == 1
    assert world.conditional == 2, "what may have changed is asked for with its ETag"
    assert_right(world, tmp_path / "s")
    assert open_store(tmp_path / "s").of("biomodels")[id_of(4)].revision == "8"
    world.forget()
    assert fetch_all(world, tmp_path / "s").fetched == 0
    assert len(world.asked) == 2, "what was touched without change is remembered as such"


def test_named_ids_need_no_list(world: StandIn, tmp_path: Path) -> None:
    wish = Selection(ids=(id_of(3), f" {id_of(5)}"))
    assert fetch_all(world, tmp_path / "s", wish).present == 2
    assert world.count("search?") == 0
    world.forget()
    again = fetch_all(world, tmp_path / "s", wish)
    assert (again.fetched, again.unchanged, world.count("download")) == (0, 2, 0)
    with pytest.raises(CrawlError, match="not an id"):
        fetch_all(world, tmp_path / "s", Selection(ids=("../etc",)))
    with pytest.raises(CrawlError, match=f"ask for {id_of(5)}"):
        fetch_all(world, tmp_path / "s", Selection(ids=(f"{id_of(5)}.2",)))


def test_query_limit_and_curated(tmp_path: Path) -> None:
    with serving(make_world(4, MODEL0000000001=Model(sbml("x"), name="calcium"))) as world:
        assert fetch_all(world, tmp_path / "a", Selection(query="calcium")).wanted == 1
        assert fetch_all(world, tmp_path / "b", Selection(limit=2)).wanted == 2
        assert fetch_all(world, tmp_path / "c", Selection(curated=True)).wanted == 4


def test_pages_are_read_to_the_end_and_repeats_dropped(tmp_path: Path) -> None:
    with serving(make_world(230)) as world:
        assert fetch_all(world, tmp_path / "s").present == 230
        assert world.count("search?") == 3
        assert world.count("search/download") == 3
        assert_right(world, tmp_path / "s")


@pytest.mark.parametrize("etags", [True, False])
def test_faults_of_all_kinds(tmp_path: Path, etags: bool) -> None:
    """Each path suffers at most two faults; every file is right all the same, and few requests are wasted."""

    def fault(path: str, attempt: int) -> str | None:
        draw = random.Random(f"{path}|{attempt}")
        if attempt > 2 or draw.random() > 0.4:
            return None
        return draw.choice(KINDS)

    count = 60
    world = make_world(count, BIOMD0000009999=Model(omex(sbml("packed", 3)), file="packed.omex"))
    with serving(world):
        world.etags, world.stall = etags, 0.05
        calm = fetch_all(world, tmp_path / "calm").requests
        world.forget()
        world.fault = fault
        summary = fetch_all(world, tmp_path / "s")
    assert summary.complete
    assert summary.present == count + 1
    assert summary.requests <= 2.2 * calm
    assert world.peak <= QUICK.at_once
    world.models["BIOMD0000009999"].data = sbml("packed", 3)
    assert_right(world, tmp_path / "s")
    assert verify_store(open_store(tmp_path / "s")).findings == ()
    calm_records, records = (open_store(tmp_path / name).of("biomodels") for name in ("calm", "s"))
    if etags:  # answers that carry their own digest leave no doubt about any field
        names = {id: (r.name, r.file, r.revision, r.modified) for id, r in records.items()}
        assert names == {id: (r.name, r.file, r.revision, r.modified) for id, r in calm_records.items()}


def test_corruption_without_checksum_crc_or_digest_needs_two_equal_downloads(tmp_path: Path) -> None:
    model = Model(sbml("lone", 4), sums=False)
    world = StandIn({id_of(1): model}, etags=False)
    world.fault = lambda path, attempt: "corrupt" if "download" in path and attempt == 1 else None
    with serving(world):
        summary = fetch_all(world, tmp_path / "s", Selection(ids=(id_of(1),)))
    assert summary.present == 1
    assert world.count("model/download") == 3
    assert_right(world, tmp_path / "s")


@pytest.mark.parametrize("what", ["search?", "identifiers", id_of(7)])
def test_corrupt_json_is_not_believed(tmp_path: Path, what: str) -> None:
    world = make_world(9)
    world.etags = False
    world.fault = lambda path, attempt: "corrupt" if what in path and attempt == 1 else None
    with serving(world):
        summary = fetch_all(world, tmp_path / "s")
    assert (summary.wanted, summary.present) == (9, 9)
    assert_right(world, tmp_path / "s")


def test_gone_is_a_record_only_after_the_list_was_read_again(world: StandIn, tmp_path: Path) -> None:
    world.fault = lambda path, attempt: "gone" if f"/{id_of(5)}?" in path else None
    summary = fetch_all(world, tmp_path / "s")
    assert summary.complete
    assert [(miss.id, miss.code) for miss in summary.misses] == [(id_of(5), "gone")]
    assert summary.as_json()["failed"] == 1
    assert world.count("identifiers") == 2
    assert world.count(f"/{id_of(5)}?") == 2
    record = open_store(tmp_path / "s").of("biomodels")[id_of(5)]
    assert record.reason is not None
    assert record.reason["code"] == "gone"
    assert not (tmp_path / "s" / id_of(5)).exists()
    world.fault = lambda path, attempt: None
    assert fetch_all(world, tmp_path / "s").present == 12


def test_a_404_of_a_wrongly_read_name_is_not_gone(tmp_path: Path) -> None:
    """The first reading of the record has a byte of the file's name changed; the file is 'not there' under it."""
    world = StandIn({id_of(1): Model(sbml("m"), file="x" * 400 + ".xml", sums=False)}, etags=False)
    world.fault = lambda path, attempt: "corrupt" if path.endswith("?format=json") and attempt == 1 else None
    with serving(world):
        summary = fetch_all(world, tmp_path / "s", Selection(ids=(id_of(1),)))
    assert world.count("download") >= 2
    assert (summary.present, summary.misses) == (1, ())


def test_foreign_html_and_non_models_are_records(tmp_path: Path) -> None:
    html = b"<html><body>Please log in</body></html>"
    world = StandIn(
        {
            id_of(1): Model(sbml("good")),
            id_of(2): Model(html, file="model.xml"),
            id_of(3): Model(b"FROM scratch", file="Dockerfile"),
            id_of(4): Model(b'<?xml version="1.0"?><cellml/>', file="cell.xml"),
            id_of(5): Model(sbml("other"), listed_sha256="0" * 64),
            id_of(6): Model(sbml("long"), size=7),
            id_of(7): Model(b"", file="empty.xml"),
            id_of(8): Model(sbml("cut")[:-20], file="cut.xml"),
            id_of(9): Model(
                b'<!DOCTYPE sbml [<!ENTITY a "x">]><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core"/>'
            ),
        }
    )
    with serving(world):
        summary = fetch_all(world, tmp_path / "s")
        fetch_all(world, tmp_path / "s")
        world.forget()
        again = fetch_all(world, tmp_path / "s")
    codes = {miss.id: miss.code for miss in summary.misses}
    assert codes == {
        id_of(2): "html-page",
        id_of(3): "no-sbml-file",
        id_of(4): "not-sbml",
        id_of(5): "wrong-checksum",
        id_of(6): "wrong-size",
        id_of(7): "empty-file",
        id_of(8): "not-well-formed",
        id_of(9): "entity-declaration",
    }
    assert summary.shortfall == "2 of 9 did not come (1 wrong-checksum, 1 wrong-size); run the same command later"
    assert (summary.present, again.wanted, again.present) == (1, 9, 1)
    asked = {path.partition("?")[0].rpartition("/")[2] for path in world.asked if "filename" in path}
    assert asked == {id_of(5), id_of(6)}, "what two runs found to be no model is not asked for until it changes"
    assert {path.parent.name for path in (tmp_path / "s").glob("*/*.xml")} == {id_of(1)}


def test_odd_names_and_archives(tmp_path: Path) -> None:
    names = ["Model.xml", "A 2019 + B, v2 (final).xml", "Größe:_model.xml", "01%20x.xml", "plain.SBML"]
    world = StandIn({id_of(i): Model(sbml(name), file=name, sums=False) for i, name in enumerate(names)})
    for i, name in enumerate(names):
        world.models[f"MODEL{i:010d}"] = Model(omex(sbml(name)), file=f"{name}.omex")
    world.fault = lambda path, attempt: "gone" if "search/download" in path else None
    with serving(world):
        assert fetch_all(world, tmp_path / "s").present == 10
    for i, name in enumerate(names):
        world.models[f"MODEL{i:010d}"].data = sbml(name)
    assert_right(world, tmp_path / "s")


def test_dangerous_archives_are_refused_and_nothing_of_them_kept(tmp_path: Path) -> None:
    import zipfile

    bomb = zipped({"model.xml": b" " * (8 << 20)}, zipfile.ZIP_DEFLATED)
    world = StandIn(
        {
            id_of(1): Model(omex(sbml("x"), **{"../../evil.xml": sbml("evil")}), file="a.omex"),
            id_of(2): Model(bomb, file="b.omex"),
            id_of(3): Model(omex(sbml("y"), **{"/abs.xml": b"x"}), file="c.omex"),
            id_of(4): Model(zipped({"readme.txt": b"x"}), file="d.omex"),
            id_of(5): Model(sbml("fine")),
        }
    )
    with serving(world):
        summary = fetch_all(world, tmp_path / "deep" / "s")
    codes = {miss.id: miss.code for miss in summary.misses}
    refused = dict.fromkeys((id_of(1), id_of(2), id_of(3)), "unsafe-archive")
    assert codes == {**refused, id_of(4): "no-sbml-file"}
    assert summary.complete
    assert summary.present == 1
    assert not list(tmp_path.rglob("evil*"))
    assert "'../../evil.xml', which points outside" in summary.misses[0].message


def test_a_dangerous_bulk_zip_is_passed_over(world: StandIn, tmp_path: Path) -> None:
    route = world.route
    evil = zipped({"../../evil.xml": sbml("evil"), f"{id_of(1)}.xml": sbml("foreign")})
    world.route = lambda path, query: (200, evil) if path.endswith("search/download") else route(path, query)  # type: ignore[method-assign]
    with serving(world):
        assert fetch_all(world, tmp_path / "s").present == 12
    assert_right(world, tmp_path / "s")
    assert not list(tmp_path.rglob("evil*"))


def test_a_foreign_file_in_the_bulk_zip_is_noticed(world: StandIn, tmp_path: Path) -> None:
    world.models[id_of(3)].bulk = sbml("of another model entirely", 5)
    world.models[id_of(5)].bulk = world.models[id_of(4)].data  # id 5 lists no checksum, only a length
    assert fetch_all(world, tmp_path / "s").present == 12
    assert_right(world, tmp_path / "s")


def test_redirect_to_a_host_that_is_not_allowed(world: StandIn, tmp_path: Path) -> None:
    world.fault = lambda path, attempt: "http://localhost:9/x" if f"/{id_of(5)}?" in path else None
    summary = fetch_all(world, tmp_path / "s")
    assert [(miss.id, miss.code) for miss in summary.misses] == [(id_of(5), "redirect-not-allowed")]
    assert "redirected to http://localhost:9, which is not a known host" in summary.misses[0].message
    assert summary.present == 11
    assert not summary.complete


def test_a_redirect_that_drops_the_format_gets_it_back(world: StandIn, tmp_path: Path) -> None:
    target = f"{world.url}/{id_of(5)}"
    world.fault = lambda path, attempt: target if f"/{id_of(5)}?" in path and attempt == 1 else None
    assert fetch_all(world, tmp_path / "s").present == 12
    assert world.count(f"/{id_of(5)}?format=json") == 2


def test_what_never_comes_keeps_nothing_else_waiting(world: StandIn, tmp_path: Path) -> None:
    world.models.update(make_world(40).models)
    numbers = sorted(world.models)
    for_good = {id for place, id in enumerate(numbers) if place % 2}
    world.fault = lambda path, attempt: "busy" if any(f"/{id}" in path for id in for_good) else None
    policy = RequestPolicy(rate=0, tries=1, first_wait=0.001, at_once=2)
    first = fetch_all(world, tmp_path / "s", policy=policy)
    assert (first.present, first.stopped) == (len(numbers) - len(for_good), None)  # each other one is not in a row
    fresh = set(make_world(52).models) - set(numbers)
    world.models.update(make_world(52).models)
    second = fetch_all(world, tmp_path / "s", policy=policy)
    assert second.present == first.present + len(fresh)
    assert {miss.id for miss in second.misses} == for_good


def test_a_service_that_is_down_is_left_alone(world: StandIn, tmp_path: Path) -> None:
    world.models.update(make_world(60).models)
    fetch_all(world, tmp_path / "s", Selection(limit=1))
    world.fault = lambda path, attempt: None if "search?" in path or "identifiers" in path else "busy"
    world.forget()
    summary = fetch_all(world, tmp_path / "s", policy=RequestPolicy(rate=0, tries=2, first_wait=0.001, at_once=1))
    assert not summary.complete
    assert summary.stopped is not None
    assert summary.present == 1
    assert len(world.asked) < 2 * 60 / 2
    assert {miss.code for miss in summary.misses} == {"server-busy", "not-reached"}
    assert len(summary.misses) == 59
    world.fault = lambda path, attempt: "busy"
    with pytest.raises(GivenUpError, match="run the same command later"):
        fetch_all(world, tmp_path / "s", policy=RequestPolicy(rate=0, tries=2, first_wait=0.001))


def test_an_answer_that_disagrees_with_a_held_file_keeps_it(world: StandIn, tmp_path: Path) -> None:
    fetch_all(world, tmp_path / "s")
    world.models[id_of(5)].modified = "2026-01-01T00:00:00Z"
    world.fault = lambda path, attempt: "gone" if f"/{id_of(5)}?" in path else None
    summary = fetch_all(world, tmp_path / "s")
    assert [miss.code for miss in summary.misses] == ["gone"]
    assert summary.present == 12
    assert_right(world, tmp_path / "s")


def test_missing_and_cut_files_come_again(world: StandIn, tmp_path: Path) -> None:
    store = tmp_path / "s"
    fetch_all(world, store)
    (store / id_of(1) / f"{id_of(1)}.xml").unlink()
    path = store / id_of(2) / f"{id_of(2)}.xml"
    path.write_bytes(path.read_bytes()[:100])  # cuts the object too: they are one file
    with (store / "manifest.jsonl").open("rb+") as manifest:
        manifest.truncate((store / "manifest.jsonl").stat().st_size - 30)
    found = {finding.code for finding in verify_store(open_store(store)).findings}
    assert found == {"missing-file", "changed-file", "damaged-line", "foreign-file"}
    summary = fetch_all(world, store)
    assert summary.present == 12
    assert summary.damaged_lines == (12,)
    assert_right(world, store)
    kept = {finding.code for finding in verify_store(open_store(store)).findings}
    assert kept == {"damaged-line"}


def test_two_crawls_at_once(world: StandIn, tmp_path: Path) -> None:
    import threading

    world.delay = 0.01
    ended: list[CrawlSummary] = []

    def one() -> None:
        session = Session(world.url, policy=QUICK)
        with Store.writable(tmp_path / "s", wait=30) as store:
            ended.append(crawl(BioModels(session), session, store, Selection()))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(summary.fetched for summary in ended) == [0, 12]
    assert_right(world, tmp_path / "s")
    lines = (tmp_path / "s" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert len([json.loads(line) for line in lines]) == 12


def test_survives_sigkill_and_repeats_little(tmp_path: Path) -> None:
    world = make_world(40)
    world.delay = 0.01
    world.fault = lambda path, attempt: "busy" if "search/download" in path else None  # singly: it takes a while
    store = tmp_path / "s"
    command = [sys.executable, "-m", "sbmlump", "crawl", "biomodels", "--store", str(store), "--rate", "0", "--json"]
    command += ["--retry-wait", "0.001", "--tries", "3", "-q"]
    draw = random.Random(3)
    seen: list[int] = []
    with serving(world):
        command += ["--base-url", world.url]
        for _ in range(4):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for_a_record(store, process, records_in(store))
            time.sleep(draw.random() * 0.1)
            os.kill(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
            for path in store.glob("*/*.xml"):
                assert path.read_bytes() == world.models[path.stem].data
            seen.append(len(list_models(store)))
        world.forget()
        ended = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    summary = json.loads(ended.stdout)
    assert seen == sorted(seen)
    assert seen[0] > 0
    assert summary["present"] == 40
    assert summary["unchanged"] >= seen[-1]
    assert_right(world, store)


def records_in(store: Path) -> int:
    try:
        return (store / "manifest.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def wait_for_a_record(store: Path, process: subprocess.Popen[bytes], before: int) -> None:
    end = time.monotonic() + 30.0
    while records_in(store) <= before and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
