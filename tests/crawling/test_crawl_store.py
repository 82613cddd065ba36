"""The store: atomic, told in one sentence when it cannot be used, listed the same as a plain folder."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crawler_standin import omex, sbml, zipped
from hypothesis import given
from hypothesis import strategies as st

from crawler import (
    Archive,
    ArchiveError,
    ArchiveLimits,
    CatalogueEntry,
    ExpectedFile,
    Record,
    Selection,
    SelectionError,
    Store,
    StoreError,
    digest_problem,
    import_files,
    inventory,
    list_models,
    make_plan,
    master_sbml,
    open_store,
    parse_line,
    read_manifest,
    sbml_problem,
    sha256,
    verify_store,
)

WHEN = "2026-01-01T00:00:00Z"


def record(id: str = "A", **more: object) -> Record:
    return Record("test", id, WHEN, **more)  # type: ignore[arg-type]


def fill(path: Path, *ids: str) -> None:
    with Store.writable(path) as store:
        for id in ids:
            store.put(record(id), sbml(id), ".xml")


# -- writing -----------------------------------------------------------------------------------------


def test_put_and_list(tmp_path: Path) -> None:
    fill(tmp_path / "s", "B", "A")
    models = list_models(tmp_path / "s")
    assert [model.id for model in models] == ["A", "B"]
    assert [model.path.read_bytes() for model in models] == [sbml("A"), sbml("B")]
    assert [model.sha256 for model in models] == [sha256(sbml("A")), sha256(sbml("B"))]
    assert models[0].path == tmp_path / "s" / "A" / "A.xml"
    found = inventory(open_store(tmp_path / "s"))
    assert (found.files, found.reasons, found.newest) == ({"test": 2}, {}, WHEN)


def test_a_plain_folder_is_listed_like_a_store(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "a.xml").write_bytes(sbml("a"))
    (tmp_path / "deep" / "b.sbml").write_bytes(sbml("b"))
    (tmp_path / "deep" / "c.xml").write_bytes(sbml("c"))
    (tmp_path / "deep" / "er" / "c.xml").write_bytes(sbml("c2"))
    (tmp_path / "deep" / "readme.txt").write_text("no model")
    assert [model.id for model in list_models(tmp_path)] == ["a", "b", "deep/c", "deep/er/c"]
    with pytest.raises(StoreError, match="no folder"):
        list_models(tmp_path / "nowhere")


def test_a_new_version_of_a_file_replaces_the_old_one(tmp_path: Path) -> None:
    fill(tmp_path, "A")
    with Store.writable(tmp_path) as store:
        store.put(record("A"), sbml("new"), ".xml")
        store.put(record("A"), sbml("new"), ".xml")
    assert [model.path.read_bytes() for model in list_models(tmp_path)] == [sbml("new")]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_damaged_object_is_written_again(tmp_path: Path) -> None:
    fill(tmp_path, "A")
    (tmp_path / "A" / "A.xml").write_bytes(b"edited")
    assert [finding.code for finding in verify_store(open_store(tmp_path)).findings] == ["changed-file"]
    assert verify_store(open_store(tmp_path), discard=True).whole == 0
    assert not open_store(tmp_path).intact(open_store(tmp_path).of("test")["A"])
    fill(tmp_path, "A")
    assert verify_store(open_store(tmp_path)).findings == ()


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    fill(tmp_path, "A")
    assert verify_store(open_store(tmp_path)).whole == 1


@pytest.mark.parametrize("id", ["../x", "objects", "", "a/b", ".hidden", "tmp"])
def test_an_id_that_cannot_be_a_folder(tmp_path: Path, id: str) -> None:
    with Store.writable(tmp_path) as store, pytest.raises(StoreError, match="cannot be the name"):
        store.put(record(id), sbml("x"), ".xml")


# -- what goes wrong ---------------------------------------------------------------------------------


def test_leftovers_of_a_killed_crawl_are_removed(tmp_path: Path) -> None:
    fill(tmp_path, "A")
    (tmp_path / "tmp" / "half.part").write_bytes(b"<sbml")
    assert len(list_models(tmp_path)) == 1
    fill(tmp_path, "B")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_line_cut_in_half_costs_that_line_only(tmp_path: Path, cut: int) -> None:
    fill(tmp_path, "A", "B", "C")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-cut])
    if cut == 1:  # only the end of the line is missing: the record is whole
        assert sorted(open_store(tmp_path).of("test")) == ["A", "B", "C"]
    else:
        assert sorted(open_store(tmp_path).of("test")) == ["A", "B"]
        assert open_store(tmp_path).manifest.damaged == (3,)
    fill(tmp_path, "D", "C")
    store = open_store(tmp_path)
    assert sorted(store.of("test")) == ["A", "B", "C", "D"]
    assert store.manifest.damaged == (() if cut == 1 else (3,))


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_damage_to_a_manifest_stops_its_reading(noise: bytes, position: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.jsonl"
        lines = record("A").line() + record("B").line()
        path.write_bytes(lines[:position] + noise + lines[position:])
        manifest = read_manifest(path)
        for found in manifest.records.values():
            assert isinstance(found.id, str)
            assert found.path is None or ".." not in found.path


def test_a_line_that_leads_out_of_the_store_is_not_believed() -> None:
    line = record("A", path="../x.xml", sha256="0" * 64, size=3).line()
    with pytest.raises(ValueError, match="out of the store"):
        parse_line(line)
    assert parse_line(record("A", name="Ü", detail={"a": "b"}).line()) == record("A", name="Ü", detail={"a": "b"})


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, "A")
    (tmp_path / "store.json").write_text('{"format": 2}')
    before = sorted(path for path in tmp_path.rglob("*"))
    for act in (lambda: Store.writable(tmp_path), lambda: open_store(tmp_path), lambda: list_models(tmp_path)):
        with pytest.raises(StoreError, match="format 2, newer than the 1 known here; update sbmlump"):
            act()
    assert sorted(path for path in tmp_path.rglob("*")) == before
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        open_store(tmp_path)


def test_a_folder_of_other_things_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="holds other things"):
        Store.writable(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(StoreError, match="not a folder"):
        Store.writable(tmp_path / "thesis.tex")
    with pytest.raises(StoreError, match="no store"):
        open_store(tmp_path / "absent")


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EROFS, "read-only"), (errno.EIO, "store-error")]
)
def test_a_write_that_fails_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    fill(tmp_path, "A")
    written = os.write
    with Store.writable(tmp_path) as store:

        def fail(descriptor: int, data: bytes) -> int:
            if written(descriptor, bytes(data)[: len(data) // 2]):  # half of it arrives, as on a disk that fills up
                raise OSError(number, os.strerror(number))
            return 0

        monkeypatch.setattr(os, "write", fail)
        for act in (lambda: store.put(record("B"), sbml("B"), ".xml"), lambda: store.note(record("C"))):
            with pytest.raises(StoreError) as caught:
                act()
            assert caught.value.code == code
        monkeypatch.setattr(os, "write", written)
    assert sorted(open_store(tmp_path).of("test")) == ["A"]
    assert read_manifest(tmp_path / "manifest.jsonl").damaged == ()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert verify_store(open_store(tmp_path)).findings == ()


def test_a_limit_on_file_sizes_is_a_full_disk(tmp_path: Path) -> None:
    """With a real limit of the kernel, in a process of its own."""
    (tmp_path / "in").mkdir()
    for i in range(6):
        (tmp_path / "in" / f"m{i}.xml").write_bytes(sbml(f"m{i}", 1 + 30 * (i == 4)))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    command = [sys.executable, "-m", "sbmlump", "crawl", "import", str(tmp_path / "in"), "--store", str(tmp_path / "s")]
    ended = subprocess.run([*command, "--json"], capture_output=True, timeout=120, check=False, preexec_fn=limited)
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["reasons"][0]["code"]) == (4, "disk-full")
    assert told["wanted"] is None
    assert verify_store(open_store(tmp_path / "s")).findings == ()
    assert len(list_models(tmp_path / "s")) == 4
    again = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert again.returncode == 0
    assert len(list_models(tmp_path / "s")) == 6


def test_a_busy_store_says_who_holds_it(tmp_path: Path) -> None:
    with Store.writable(tmp_path), pytest.raises(StoreError, match=rf"process {os.getpid()}\) is at work"):
        Store.writable(tmp_path, wait=0)
    with Store.writable(tmp_path, wait=0):
        pass


# -- content and archives ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty-file"),
        (b"  \n", "empty-file"),
        (b"<html><body/></html>", "html-page"),
        (b"\xef\xbb\xbf <!DOCTYPE HTML><html/>", "html-page"),
        (b"hello", "not-sbml"),
        (b"<sbml/>", "not-sbml"),
        (b'<x xmlns="http://www.sbml.org/sbml/level2"/>', "not-sbml"),
        (sbml("x")[:-3], "not-well-formed"),
        (sbml("x") + b"<more/>", "not-well-formed"),
        (omex(sbml("x")), "not-sbml"),
    ],
)
def test_what_is_no_model(data: bytes, code: str) -> None:
    problem = sbml_problem(data, "f.xml")
    assert problem is not None
    assert problem.code == code
    assert "f.xml" in problem.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(encoding: str) -> None:
    written = sbml("Größe").decode().replace('encoding="UTF-8"', f'encoding="{encoding.removesuffix("-sig")}"')
    assert sbml_problem(written.encode(encoding), "f.xml") is None


@given(st.binary(min_size=1, max_size=60), st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_noticed_by_a_checksum(data: bytes, where: int, flip: int) -> None:
    expected = ExpectedFile("f", len(data), {"sha256": sha256(data)})
    assert digest_problem(data, expected) is None
    position = where % len(data)
    changed = data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :]
    problem = digest_problem(changed, expected)
    assert problem is not None
    assert problem.code == "wrong-checksum"
    longer = digest_problem(data + b"x", expected)
    assert longer is not None
    assert longer.code == "wrong-size"


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"../x": b""}, "outside"),
        ({"a/../../x": b""}, "outside"),
        ({"/x": b""}, "outside"),
        ({"..\\x": b""}, "outside"),
        ({"C:x": b""}, "drive|outside"),
        ({str(i): b"" for i in range(12)}, "12 members"),
        ({"a": b"x" * 600, "b": b"y" * 600}, "more than 0 MB"),
        ({"a": b"x" * 1000}, "too large"),
    ],
)
def test_unsafe_archives(members: dict[str, bytes], told: str) -> None:
    limits = ArchiveLimits(members=10, member_bytes=900, total_bytes=1000)
    with pytest.raises(ArchiveError, match=told) as caught:
        Archive(zipped(members), "a.zip", limits)
    assert caught.value.code == "unsafe-archive"


def test_bombs_links_twins_and_damage() -> None:
    import io
    import stat
    import warnings
    import zipfile

    with pytest.raises(ArchiveError, match="200-fold"):
        Archive(zipped({"a": bytes(4 << 20)}, zipfile.ZIP_DEFLATED), "bomb.zip")
    link = zipfile.ZipInfo("l")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for entries, told in (([link], "is a link"), ([zipfile.ZipInfo("t"), zipfile.ZipInfo("t")], "one name")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for info in entries:
                archive.writestr(info, b"x")
        with pytest.raises(ArchiveError, match=told):
            Archive(buffer.getvalue(), "a.zip")
    good = zipped({"a": b"hello"})
    with pytest.raises(ArchiveError, match="damaged"):
        Archive(good.replace(b"hello", b"hellp"), "a.zip").read("a")
    with pytest.raises(ArchiveError, match="not a readable zip"):
        Archive(good[:-5], "a.zip")


def test_the_master_of_an_archive() -> None:
    assert master_sbml(Archive(omex(sbml("x")), "a.omex")) == ("model/main.xml", sbml("x"))
    assert master_sbml(Archive(zipped({"m.xml": sbml("x")}), "a.omex")) == ("m.xml", sbml("x"))
    for members, code in (({"m.xml": sbml("x"), "n.xml": sbml("y")}, "several-models"), ({"r": b""}, "no-sbml-file")):
        problem = master_sbml(Archive(zipped(members), "a.omex"))
        assert not isinstance(problem, tuple)
        assert problem.code == code


# -- plan and import ---------------------------------------------------------------------------------


def test_the_plan_compares_and_asks_last_for_what_failed() -> None:
    held = {"sha256": "0" * 64, "path": "x", "size": 1}
    records = {
        "same": record("same", modified="1", **held),
        "newer": record("newer", modified="1", **held),
        "cut": record("cut", modified="1", **held),
        "never": record("never", modified="1", reason={"code": "no", "message": "no"}, lasting=True),
        "gone": record("gone", modified="1", reason={"code": "gone", "message": "gone"}),
        "left": record("left", **held),
    }
    listed = {"same": "1", "newer": "2", "cut": "1", "never": "1", "gone": "1", "fresh": None}
    entries = [CatalogueEntry(id, None, modified) for id, modified in listed.items()]
    plan = make_plan(entries, records, {"same", "newer", "left"}, Selection(), bulk_size=2)
    assert [entry.id for entry in plan.keep] == ["same"]
    assert [entry.id for entry in plan.ask] == ["newer"]
    assert [r.id for r in plan.refused] == ["never"]
    assert [[entry.id for entry in batch] for batch in plan.batches] == [["cut", "fresh"], ["gone"]]
    failed = {id: replace(records["gone"], id=id) for id in "abc"}
    turned = make_plan([CatalogueEntry(id) for id in "abcd"], failed, set(), Selection(), shuffle=list.reverse)
    assert [entry.id for batch in turned.batches for entry in batch] == ["d", "c", "b", "a"]
    assert (plan.unlisted, plan.wanted, plan.bulk) == (("left",), 6, False)
    assert make_plan(entries, records, {"same"}, Selection(limit=9)).unlisted == ()
    rechecked = make_plan(entries, records, {"same"}, Selection(recheck=True))
    assert [entry.id for entry in rechecked.ask] == ["same"]
    assert make_plan([CatalogueEntry(str(i)) for i in range(9)], {}, set(), Selection(), bulk_size=100).bulk


def test_import_of_a_folder_and_of_a_zip(tmp_path: Path) -> None:
    members = {
        "BIOMD0000000001.xml": sbml("one"),
        "sub/two.sbml": sbml("two"),
        "sub/three.omex": omex(sbml("three")),
        "odd name (1).xml": sbml("odd"),
        "page.xml": b"<html>error</html>",
        "notes.txt": b"nothing",
        "other/two.xml": sbml("another two"),
    }
    source = tmp_path / "in"
    for name, data in members.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    (tmp_path / "in.zip").write_bytes(zipped(members))
    for origin, place in ((source, tmp_path / "a"), (tmp_path / "in.zip", tmp_path / "b")):
        with Store.writable(place) as store:
            summary = import_files(store, origin)
        assert (summary.wanted, summary.fetched, summary.complete) == (6, 5, True)
        assert {miss.code for miss in summary.misses} == {"html-page"}
        found = {model.id: model.path.read_bytes() for model in list_models(place)}
        twins = {id.rpartition("-")[0]: data for id, data in found.items() if "two" in id}
        assert twins == {"sub_two": sbml("two"), "other_two": sbml("another two")}
        assert found["BIOMD0000000001"] == sbml("one")
        assert found["three"] == sbml("three")
        assert sum(id.startswith("odd_name_1_-") for id in found) == 1
        with Store.writable(place) as store:
            assert (import_files(store, origin).unchanged, verify_store(store).findings) == (5, ())


def test_import_of_names_that_a_store_uses_itself(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("tmp.xml", "objects.sbml", "store.json.xml", "-.xml"):
        (tmp_path / "in" / name).write_bytes(sbml(name))
    with Store.writable(tmp_path / "s") as store:
        assert import_files(store, tmp_path / "in").fetched == 4
    found = list_models(tmp_path / "s")
    assert sorted(model.id.rpartition("-")[0] for model in found) == ["model", "objects", "store.json", "tmp"]
    assert verify_store(open_store(tmp_path / "s")).findings == ()


def test_two_sources_of_one_id_lose_nothing(tmp_path: Path) -> None:
    """An import beside a crawl: the same file is one, another one gets a name of its own."""
    for first, second in (("test", "import"), ("import", "test")):
        place = tmp_path / first
        with Store.writable(place) as store:
            store.put(replace(record("A"), source=first), sbml("one"), ".xml")
            store.put(replace(record("A"), source=second), sbml("one"), ".xml")
            assert [model.path.name for model in list_models(place)] == ["A.xml"]
            store.put(replace(record("A"), source=second), sbml("two"), ".xml")
        found = {model.path.name: model.path.read_bytes() for model in list_models(place)}
        assert found == {"A.xml": sbml("one"), f"A.{second}.xml": sbml("two")}
        with Store.writable(place) as store:  # each goes on under its name
            store.put(replace(record("A"), source=second), sbml("three"), ".xml")
            store.put(replace(record("A"), source=first), sbml("four"), ".xml")
        found = {model.path.name: model.path.read_bytes() for model in list_models(place)}
        assert found == {"A.xml": sbml("four"), f"A.{second}.xml": sbml("three")}
        assert verify_store(open_store(place)).findings == ()


def test_a_file_that_cannot_be_read_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.xml").write_bytes(sbml("a"))
    (tmp_path / "b.xml").write_bytes(sbml("b"))
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path).name == "b.xml":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert [(model.id, model.sha256) for model in list_models(tmp_path)] == [("a", sha256(sbml("a"))), ("b", None)]


def test_import_of_what_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "evil.zip").write_bytes(zipped({"../x.xml": sbml("x")}))
    (tmp_path / "text").write_text("hello")
    with Store.writable(tmp_path / "s") as store:
        for name, kind in (("evil.zip", ArchiveError), ("text", SelectionError), ("absent", SelectionError)):
            with pytest.raises(kind):
                import_files(store, tmp_path / name)
    assert list_models(tmp_path / "s") == []
    assert not (tmp_path / "x.xml").exists()


def test_a_file_system_without_locks_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    fill(tmp_path, "A")
    with Store.writable(tmp_path) as store:
        assert store.remark is not None
        assert "has no locks (Function not implemented): never run two crawls on this store at once" in store.remark
    assert [model.id for model in list_models(tmp_path)] == ["A"]
