"""The whole file appears, or nothing does."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from sbmlump.files import DiskFullError, OutputError, make_folder, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def code_of(error: pytest.ExceptionInfo[OutputError]) -> str:
    return error.value.reasons[0].code


def test_new_file_has_the_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_atomically(tmp_path / "out.xml", b"<a/>\n")
    assert (tmp_path / "out.xml").read_bytes() == b"<a/>\n"
    assert names(tmp_path) == ["out.xml"]


def test_existing_file_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "out.xml"
    path.write_bytes(b"old and longer")
    path.chmod(0o640)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_new_file_obeys_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "out.xml", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.xml").stat().st_mode) == 0o640


def test_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "real.xml"
    target.write_bytes(b"old")
    link = tmp_path / "link.xml"
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert names(tmp_path / "far") == ["real.xml"]


@pytest.mark.parametrize("name", [".", "folder", "folder/", "missing/"])
def test_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError) as error:
        write_atomically(f"{tmp_path}/{name}", b"x")
    assert code_of(error) == "is-a-directory"


@pytest.mark.parametrize("name", ["missing/out.xml", "file/out.xml"])
def test_missing_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError) as error:
        write_atomically(tmp_path / name, b"x")
    assert code_of(error) == "no-such-folder"
    assert names(tmp_path) == ["file"]


def test_device_is_refused_and_survives() -> None:
    with pytest.raises(OutputError) as error:
        write_atomically(os.devnull, b"x")
    assert code_of(error) == "not-a-regular-file"
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_name_that_no_system_takes(tmp_path: Path) -> None:
    for name in ("a\0b", "a" * 5000):
        with pytest.raises(OutputError) as error:
            write_atomically(tmp_path / name, b"x")
        assert code_of(error) == "cannot-write"


@pytest.mark.parametrize(
    ("number", "code", "exit_code"),
    [(errno.ENOSPC, "disk-full", 4), (errno.EDQUOT, "disk-full", 4), (errno.EROFS, "read-only", 2)],
)
def test_failure_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str, exit_code: int
) -> None:
    path = tmp_path / "out.xml"
    path.write_bytes(b"old")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError) as error:
        write_atomically(path, b"new")
    assert code_of(error) == code
    assert error.value.exit_code == exit_code
    assert isinstance(error.value, DiskFullError) == (code == "disk-full")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out.xml"]


def test_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "out.xml", b"new")
    assert names(tmp_path) == []


def test_file_without_write_permission_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.xml"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # the super-user may write everything
    with pytest.raises(OutputError) as error:
        write_atomically(path, b"new")
    assert code_of(error) == "read-only"
    assert path.read_bytes() == b"old"


def test_folders_are_made_with_those_above_them(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for name in ("file", "file/below"):
        with pytest.raises(OutputError) as caught:
            make_folder(tmp_path / name)
        assert caught.value.reasons[0].code == "not-a-folder"
    assert (tmp_path / "file").read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize(("number", "code"), [(errno.EROFS, "read-only"), (errno.ENOSPC, "disk-full")])
def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError) as caught:
        make_folder(tmp_path / "new")
    assert caught.value.reasons[0].code == code
