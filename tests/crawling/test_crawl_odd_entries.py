"""Whatever one entry brings, the others come; what is missing is told with its reason, and the exit code says so."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from crawler_standin import Model, StandIn, omex, sbml, serving, zipped
from hypothesis import given
from hypothesis import strategies as st

from crawler import (
    Archive,
    ArchiveError,
    BioModels,
    BioModelsSettings,
    ContentProblem,
    CrawlSummary,
    OdeBase,
    RequestPolicy,
    Selection,
    ServiceError,
    Session,
    Store,
    crawl,
    import_files,
    is_page,
    list_models,
    master_sbml,
    open_store,
    parsed_whole_number,
    retry_after,
    sbml_problem,
)

QUICK = RequestPolicy(rate=0, timeout=5, first_wait=0.001, longest_wait=0.01)
ONE, TWO, THREE = (f"BIOMD{number:010d}" for number in (1, 2, 3))
SPECIFICATIONS = "http://identifiers.org/combine.specifications/"
RDF = b'<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>'
Route = Callable[[str, Mapping[str, str]], tuple[int, bytes]]


@pytest.fixture
def world() -> Iterator[StandIn]:
    with serving(StandIn({id: Model(sbml(id)) for id in (ONE, TWO, THREE)})) as served:
        yield served


def run(world: StandIn, store: Path, wish: Selection | None = None) -> CrawlSummary:
    session = Session(world.url, policy=QUICK)
    try:
        with Store.writable(store, wait=0) as opened:
            return crawl(BioModels(session, BioModelsSettings(page=10)), session, opened, wish or Selection())
    finally:
        session.close()


def codes(summary: CrawlSummary) -> dict[str, str]:
    return {miss.id: miss.code for miss in summary.misses}


def files(store: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in store.glob("*/*.xml")}


def answer(world: StandIn, part: str, reply: Callable[[Mapping[str, str], int], tuple[int, bytes] | None]) -> None:
    """Answer requests whose path holds `part` in another way; the reply may leave one to the stand-in."""
    usual: Route = world.route
    asked = [0]

    def route(path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        if part in path:
            asked[0] += 1
            given = reply(query, asked[0])
            return usual(path, query) if given is None else given
        return usual(path, query)

    world.route = route


def of_json(value: object) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


# -- pages in place of files -------------------------------------------------------------------------

PAGES = {
    "text": b"Service Temporarily Unavailable\n",
    "json": b'{"errorMessage": "busy"}',
    "xhtml": b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x.dtd">\n<html/>',
    "bare xhtml": b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>',
    "empty": b"",
    "comment": b"<!-- generated --><html><body>busy</body></html>",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_busy_page_is_never_a_lasting_refusal(world: StandIn, tmp_path: Path, page: str) -> None:
    world.models[TWO].sums = page != "text"  # a length alone is a promise, too
    busy = [True]
    answer(world, f"download/{TWO}", lambda query, count: (200, PAGES[page]) if busy[0] else None)
    for _ in range(2):
        summary = run(world, tmp_path / "s")
        assert (summary.present, codes(summary), summary.complete) == (2, {TWO: "busy-page"}, False)
        assert summary.shortfall == "1 of 3 did not come (1 busy-page); run the same command later"
    busy[0] = False
    assert run(world, tmp_path / "s").present == 3


def test_a_refusal_lasts_only_when_two_runs_find_the_same(world: StandIn, tmp_path: Path) -> None:
    world.models[TWO].data = RDF
    asked = []
    for _ in range(3):
        world.forget()
        summary = run(world, tmp_path / "s")
        assert (codes(summary), summary.complete) == ({TWO: "not-sbml"}, True)
        asked.append(world.count(f"download/{TWO}"))
    assert asked == [1, 1, 0]
    world.models[TWO] = Model(sbml("better"), modified="2025-01-01T00:00:00Z")
    assert run(world, tmp_path / "s").present == 3


def test_bytes_that_contradict_the_record_are_asked_for_in_each_run(world: StandIn, tmp_path: Path) -> None:
    world.models[TWO].listed_sha256 = "0" * 64
    for _ in range(3):
        world.forget()
        summary = run(world, tmp_path / "s")
        assert (codes(summary), summary.complete) == ({TWO: "wrong-checksum"}, False)
        assert world.count(f"download/{TWO}") == 1


@given(st.binary(max_size=200), st.sampled_from([b"", b"<", b"<!--", b"<?xml ", b"<!DOCTYPE ", b"\xff\xfe", b"PK\3\4"]))
def test_no_bytes_break_the_looks_at_them(data: bytes, start: bytes) -> None:
    name = "a file"
    is_page(start + data)
    problem = sbml_problem(start + data, name)
    assert problem is None or name in problem.message


# -- lists -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short", [0, 5])
def test_an_empty_or_shrunken_page_after_a_full_one_is_no_answer(tmp_path: Path, short: int) -> None:
    many = {f"BIOMD{number:010d}": Model(sbml(f"m{number}")) for number in range(1, 18)}
    for lasting, present in ((False, 17), (True, 10 + short)):
        with serving(StandIn(dict(many), etags=short == 0)) as world:

            def reply(query: Mapping[str, str], count: int, lasting: bool = lasting) -> tuple[int, bytes] | None:
                if query["offset"] == "0" or not (lasting or count < 6):
                    return None
                ids = sorted(many)[10 : 10 + short]
                return of_json({"matches": short, "models": [{"id": id} for id in ids]})

            answer(world, "search", lambda query, count: None if "models" in query else reply(query, count))
            summary = run(world, tmp_path / f"s{lasting}", Selection(query="m"))
            assert (summary.present, summary.complete) == (present, not lasting)
            if lasting:
                assert len(summary.gaps) == 1
                assert "the list could not be read to its end" in summary.gaps[0]
                assert summary.as_json()["reasons"][0]["code"] == "incomplete-list"


def test_a_whole_catalogue_whose_search_is_empty_goes_on_with_the_ids_and_is_not_complete(
    world: StandIn, tmp_path: Path
) -> None:
    answer(world, "search", lambda query, count: None if "models" in query else of_json({"matches": 0, "models": []}))
    summary = run(world, tmp_path / "s")
    assert (summary.present, summary.complete) == (3, False)
    nothing = run(world, tmp_path / "q", Selection(query="nothing has this name"))
    assert (nothing.wanted, nothing.complete) == (0, True)


@pytest.mark.parametrize("curated", [True, False])
def test_an_offset_that_is_ignored_is_told(tmp_path: Path, curated: bool) -> None:
    models = {f"BIOMD{number:010d}": Model(sbml(f"m{number}")) for number in range(1, 14)}
    with serving(StandIn(models)) as world:
        first = [{"id": id, "lastModified": "2024"} for id in sorted(models)[:10]]
        page = of_json({"matches": 13, "models": first})
        answer(world, "search", lambda query, count: None if "models" in query else page)
        summary = run(world, tmp_path / "s", Selection(query=None if curated else "m", curated=curated))
    assert (summary.wanted, summary.present, summary.complete) == (10, 10, False)
    assert "tells of 13 models and lists 10" in summary.gaps[0]


def test_ids_of_an_unknown_form_are_told_and_revisions_are_taken_off(world: StandIn, tmp_path: Path) -> None:
    def listed(*ids: object) -> None:
        page = of_json({"matches": 3, "models": [{"id": id, "name": "x\ud800y"} for id in ids]})
        answer(world, "search", lambda query, count: None if "models" in query else page)

    listed(f"{ONE}.4", f"{TWO}.1", THREE)
    assert run(world, tmp_path / "s", Selection(query="x")).present == 3
    assert open_store(tmp_path / "s").of("biomodels")[ONE].name == "x\ufffdy"
    listed(ONE, TWO.lower(), "BIOMD" + "\u0661" * 10)
    summary = run(world, tmp_path / "s", Selection(query="x"))
    assert (summary.wanted, summary.complete) == (1, False)
    assert summary.gaps[0].startswith("2 listed ids have a form that is not known, such as 'biomd0000000002'")


@pytest.mark.parametrize(
    "row", ["<tr><td>1300</td><td>{link}</td><td>x</td>{rest}</tr>", "<tr><td>{link}</td>{rest}</tr>"]
)
def test_a_changed_table_of_odebase_is_told(tmp_path: Path, row: str) -> None:
    link, rest = f'<a href="/odebase/detail/1300">{ONE}</a>', "<td>2</td>" * 5 + "<td></td><td>Yes</td><td>Yes</td>"
    table = f"<html><table>{row.format(link=link, rest=rest)}</table></html>".encode()
    world = StandIn(systems={ONE: {}})
    answer(world, "table/", lambda query, count: (200, table))
    with serving(world):
        session = Session(world.odebase_url, policy=QUICK)
        with Store.writable(tmp_path / "s") as store:
            summary = crawl(OdeBase(session), session, store, Selection())
        assert (summary.wanted, summary.complete) == (0, False)
        assert "rows of the table of ODEbase are not as they are known" in summary.gaps[0]
        answer(world, "table/", lambda query, count: (200, b"<table></table><![x[ ]]>"))
        with Store.writable(tmp_path / "s") as store, pytest.raises(ServiceError, match="the page is not HTML"):
            crawl(OdeBase(session), session, store, Selection())


# -- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 500, 501, 507])
def test_a_refused_file_is_asked_for_again_and_then_told(world: StandIn, tmp_path: Path, status: int) -> None:
    times = [2]
    answer(world, f"download/{TWO}", lambda query, count: (status, b"no") if count <= times[0] else None)
    assert run(world, tmp_path / "a").present == 3
    times[0] = 10**9
    summary = run(world, tmp_path / "b")
    assert (summary.present, summary.complete) == (2, False)
    assert codes(summary) == {TWO: "refused" if status < 500 else "server-busy"}
    record = open_store(tmp_path / "b").of("biomodels")[TWO]
    assert record.reason is not None
    assert f"HTTP {status}" in record.reason["message"]
    assert not record.lasting


@pytest.mark.parametrize("redirect", [False, True])
def test_a_403_to_everything_stops_after_some(tmp_path: Path, redirect: bool) -> None:
    world = StandIn({f"BIOMD{number:010d}": Model(sbml("m")) for number in range(1, 81)})
    wish = Selection(limit=80)
    if redirect:
        world.fault = lambda path, attempt: "http://127.0.0.1:9/x" if "download" in path else None
    else:
        answer(world, "/BIOMD", lambda query, count: (403, b"<html>blocked</html>"))
    with serving(world):
        summary = run(world, tmp_path / "s", wish)
    assert (summary.present, summary.complete) == (0, False)
    assert summary.stopped is not None
    assert "8 entries in a row did not come" in summary.stopped
    assert world.count("/BIOMD") + world.count("filename") < 80


# -- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("main", [True, False])
def test_a_file_above_the_limit_comes_from_the_bulk_zip_or_the_archive(
    world: StandIn, tmp_path: Path, main: bool
) -> None:
    model = world.models[TWO]
    world.models[THREE] = Model(omex(sbml("packed")), file="packed.omex")
    answer(world, "model/download", lambda query, count: (200, b"BIG_FILE") if "filename" in query else None)
    whole = omex(model.data, name=model.promise(TWO)["name"]) if main else omex(model.data)
    answer(world, f"download/{TWO}", lambda query, count: None if "filename" in query else (200, whole))
    answer(
        world, f"download/{THREE}", lambda query, count: None if "filename" in query else (200, omex(sbml("packed")))
    )
    wish = Selection(ids=(ONE, TWO, THREE))
    assert run(world, tmp_path / "bulk", wish).present == 3
    answer(world, "search/download", lambda query, count: (404, b""))
    summary = run(world, tmp_path / "archive", wish)
    assert files(tmp_path / "archive") == {TWO: model.data, THREE: sbml("packed")}
    assert (codes(summary), summary.complete) == ({ONE: "big-file"}, False)


def test_members_of_the_bulk_zip_may_be_sbml_or_archives(tmp_path: Path) -> None:
    world = StandIn({f"BIOMD{number:010d}": Model(sbml(f"m{number}")) for number in range(1, 7)})
    world.models[TWO] = Model(omex(sbml("packed")), file="packed.omex")
    suffixes = {ONE: ".sbml", TWO: ".omex"}
    members = {f"{id}{suffixes.get(id, '.xml')}": model.data for id, model in world.models.items()}
    members[f"{THREE}.omex"] = omex(members.pop(f"{THREE}.xml"))
    answer(world, "search/download", lambda query, count: (200, zipped(members)))
    with serving(world):
        assert run(world, tmp_path / "s").present == 6
    assert world.count("filename") == 0
    expected = {id: model.data for id, model in world.models.items()} | {TWO: sbml("packed")}
    assert files(tmp_path / "s") == expected


def listing(*main: tuple[str, bytes], **more: object) -> tuple[int, bytes]:
    from hashlib import sha256

    listed = [
        {"name": name, "fileSize": str(len(data)), "sha256sum": sha256(data).hexdigest(), **more} for name, data in main
    ]
    return of_json({"name": "m", "files": {"main": listed}})


@pytest.mark.parametrize("first", [("metadata.xml", RDF), ("simulation.xml", b"<sedML xmlns='http://sed-ml.org/'/>")])
def test_the_second_main_file_is_looked_at_when_the_first_is_something_else(
    world: StandIn, tmp_path: Path, first: tuple[str, bytes]
) -> None:
    main = dict((first, ("model.xml", sbml("second")), ("packed.omex", omex(sbml("third")))))
    answer(world, f"biomodels/{TWO}", lambda query, count: listing(*main.items()))
    answer(world, f"download/{TWO}", lambda query, count: (200, main[query["filename"]]))
    assert run(world, tmp_path / "s").present == 3
    assert files(tmp_path / "s")[TWO] == sbml("second")
    assert open_store(tmp_path / "s").of("biomodels")[TWO].file == "model.xml"
    main["model.xml"] = sbml("second")[:-9]
    summary = run(world, tmp_path / "t")
    assert codes(summary) == {TWO: "not-well-formed"}, "a damaged model is not replaced by another one"


@pytest.mark.parametrize("text", ["N/A", "1B2M2Y8AsgTpgAmY7PhCfg==", "sha256:" + "0" * 64, "", None, 7])
def test_a_checksum_that_is_no_digest_is_no_promise(world: StandIn, tmp_path: Path, text: object) -> None:
    data = world.models[TWO].data
    answer(world, f"biomodels/{TWO}", lambda query, count: listing(("m.xml", data), sha256sum=text, md5sum=text))
    answer(world, f"download/{TWO}", lambda query, count: (200, data))
    assert run(world, tmp_path / "s").present == 3


@pytest.mark.parametrize(
    "listed", [{"name": "bad\ud800name.xml"}, {"fileSize": "9" * 5000}, {"fileSize": "\u00b2"}, {"fileSize": None}]
)
def test_odd_fields_of_a_record_concern_that_entry_only(
    world: StandIn, tmp_path: Path, listed: Mapping[str, object]
) -> None:
    data = world.models[TWO].data
    answer(world, f"biomodels/{TWO}", lambda query, count: listing(("m.xml", data), **listed))
    answer(world, f"download/{TWO}", lambda query, count: (200, data))
    summary = run(world, tmp_path / "s")
    assert codes(summary) == ({TWO: "bad-name"} if "name" in listed else {})
    assert summary.complete
    (tmp_path / "s" / "manifest.jsonl").read_text(encoding="utf-8")


def test_a_number_of_thousands_of_digits_in_json_is_read(world: StandIn, tmp_path: Path) -> None:
    usual = world.models[TWO].promise(TWO)
    record = json.dumps({"files": {"main": [usual]}, "history": {"revisions": [{"version": 3}, {"version": 0}]}})
    answer(
        world, f"biomodels/{TWO}", lambda query, count: (200, record.replace(": 0}", ": " + "7" * 5000 + "}").encode())
    )
    assert run(world, tmp_path / "s").present == 3
    assert open_store(tmp_path / "s").of("biomodels")[TWO].revision == "3"


@pytest.mark.parametrize(
    ("stated", "kept"), [("CC-BY-4.0", "CC-BY-4.0"), ({"name": "MIT"}, "MIT"), ("", "CC0-1.0"), (7, "CC0-1.0")]
)
def test_the_licence_is_that_of_the_record(world: StandIn, tmp_path: Path, stated: object, kept: str) -> None:
    record = {"files": {"main": [world.models[TWO].promise(TWO)]}, "license": stated}
    answer(world, f"biomodels/{TWO}", lambda query, count: of_json(record))
    run(world, tmp_path / "s")
    assert open_store(tmp_path / "s").of("biomodels")[TWO].licence == kept


@pytest.mark.parametrize("encoding", ["Shift_JIS", "GB2312", "EUC-JP", "Big5", "UTF-32", "UTF-7", "klingon"])
def test_an_encoding_that_is_not_read_is_a_reason(world: StandIn, tmp_path: Path, encoding: str) -> None:
    odd = sbml("odd").replace(b"UTF-8", encoding.encode())
    world.models[TWO].data = odd
    manifest = f'<?xml version="1.0" encoding="{encoding}"?><omexManifest/>'.encode()
    world.models[THREE] = Model(zipped({"manifest.xml": manifest, "m.xml": sbml("m")}), file="m.omex")
    summary = run(world, tmp_path / "s")
    assert codes(summary).keys() <= {TWO, THREE}
    assert TWO in codes(summary)
    assert summary.complete
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "odd.xml").write_bytes(odd)
    (tmp_path / "in" / "good.xml").write_bytes(sbml("good"))
    with Store.writable(tmp_path / "i") as store:
        assert import_files(store, tmp_path / "in").present == 1


# -- archives ----------------------------------------------------------------------------------------


def packed(members: Mapping[str, bytes], *contents: tuple[str, str, str]) -> Archive:
    rows = "".join(f'<content location="{place}" format="{form}"{more}/>' for place, form, more in contents)
    manifest = f'<omexManifest xmlns="{SPECIFICATIONS}omex-manifest">{rows}</omexManifest>'
    return Archive(zipped({"manifest.xml": manifest.encode(), **members}), "a.omex")


XML, LEVEL_3, MASTER = "application/xml", f"{SPECIFICATIONS}sbml.level-3", ' master="true"'


def test_the_master_counts_whatever_its_format() -> None:
    archive = packed({"a.xml": sbml("a"), "b.xml": sbml("b")}, ("./a.xml", XML, ""), ("./b.xml", XML, MASTER))
    assert master_sbml(archive) == ("b.xml", sbml("b"))


@pytest.mark.parametrize(
    ("member", "location"),
    [
        ("my model.xml", "./my%20model.xml"),
        ("my%20model.xml", "./my%20model.xml"),
        ("model.xml", "/model.xml"),
        ("dir/model.xml", ".\\dir\\model.xml"),
        ("model.xml", "elsewhere.xml"),
        ("the model", "./readme"),
    ],
)
def test_how_a_location_may_be_written(member: str, location: str) -> None:
    archive = packed({member: sbml("m"), "notes.xml": RDF}, (location, LEVEL_3, MASTER))
    assert master_sbml(archive) == (member, sbml("m"))


def test_a_damaged_master_is_not_replaced_by_another_file() -> None:
    archive = packed({"a.xml": sbml("a")[:-9], "b.xml": sbml("b")}, ("a.xml", LEVEL_3, MASTER), ("b.xml", LEVEL_3, ""))
    found = master_sbml(archive)
    assert not isinstance(found, tuple)
    assert found.code == "not-well-formed"


def test_a_master_that_is_a_simulation_leads_to_the_only_model() -> None:
    sedml = ("s.sedml", f"{SPECIFICATIONS}sed-ml", MASTER)
    archive = packed({"s.sedml": b"<sedML/>", "m.xml": sbml("m"), "data.xml": RDF}, sedml, ("m.xml", LEVEL_3, ""))
    assert master_sbml(archive) == ("m.xml", sbml("m"))


@given(st.binary(max_size=400))
def test_no_manifest_breaks_the_look_into_an_archive(manifest: bytes) -> None:
    archive = Archive(zipped({"manifest.xml": b'<?xml version="1.0"?>' + manifest, "m.xml": b"<sbml"}), "a.omex")
    try:
        found = master_sbml(archive)
    except ArchiveError as error:
        found = ContentProblem(error.code, error.message)
    assert not isinstance(found, tuple)
    assert found.code in ("broken-archive", "unsafe-archive", "no-sbml-file", "not-well-formed")


def damaged(method: int) -> bytes:
    """A zip file whose member `odd.xml` is packed in a way that its bytes do not follow."""
    data = bytearray(zipped({"odd.xml": sbml("odd", 9), "good.xml": sbml("good")}, method))
    start = 30 + len("odd.xml")
    data[start + 9 : start + 60] = bytes(51)
    return bytes(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_one_entry_of_an_import(tmp_path: Path, method: int) -> None:
    (tmp_path / "in.zip").write_bytes(damaged(method))
    with Store.writable(tmp_path / "s") as store:
        summary = import_files(store, tmp_path / "in.zip")
    assert (summary.present, codes(summary)) == (1, {"odd": "broken-archive"})


def test_a_member_whose_name_is_not_utf_8_is_one_entry_of_an_import(tmp_path: Path) -> None:
    data = zipped({"gr\u00fcn.xml": sbml("odd"), "bl\u00e4u.xml": sbml("blue"), "good.xml": sbml("good")})
    (tmp_path / "in.zip").write_bytes(data.replace("gr\u00fcn".encode(), b"gr\xff\xfen"))
    with Store.writable(tmp_path / "s") as store:
        summary = import_files(store, tmp_path / "in.zip")
    assert (summary.wanted, summary.present) == (3, 2)
    assert list(codes(summary).values()) == ["broken-archive"]


def test_a_name_that_is_not_utf_8_is_imported(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, data in ((b"m\xff\x1b[31m.xml", sbml("m")), (b"m\xfe.xml", b"no"), (b"plain.xml", sbml("p"))):
        (folder / os.fsdecode(name)).write_bytes(data)
    with Store.writable(tmp_path / "s") as store:
        summary = import_files(store, tmp_path / "in")
    assert (summary.wanted, summary.present) == (3, 2)
    records = open_store(tmp_path / "s").of("import")
    assert sorted(records) == sorted(set(records))
    assert "plain" in records
    assert all(id.isascii() for id in records)
    assert [model.id for model in list_models(tmp_path / "in")] == ["m\\xfe", "m\\xff\x1b[31m", "plain"]
    (tmp_path / "s" / "manifest.jsonl").read_text(encoding="utf-8")


# -- numbers and times from outside ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["\u00b2", "9" * 5000, "Wed, 21 Oct 99999999999999 07:28:00 GMT", "-1", "1e3", "\u0663"]
)
def test_a_retry_after_that_is_none(text: str) -> None:
    assert retry_after({"retry-after": text}) is None


@given(st.text(max_size=20) | st.integers() | st.sampled_from(["007", "\u00b2", "\u0663", "9" * 19, 1.0, None, True]))
def test_whole_numbers(value: object) -> None:
    number = parsed_whole_number(value)
    assert number is None or str(number) == str(value).lstrip("0") or set(str(value)) == {"0"}
    assert number is None or str(value).isascii()


def test_retry_after_of_a_superscript_is_no_wait(world: StandIn, tmp_path: Path) -> None:
    world.retry_after = "\u00b2"
    world.fault = lambda path, attempt: "busy" if f"/{TWO}?" in path and attempt <= 2 else None
    assert run(world, tmp_path / "s").present == 3
