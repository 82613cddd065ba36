"""One door: whatever the encoding, the packing or the archive, every command reads the same model."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sbml.read_models import compartment, listed, parameter, reaction, sbml, species

import sbmlump
from sbmlump.errors import InputError
from sbmlump.files import read_model_file
from sbmlump.sbml import as_utf8, open_sbml, prepare_bytes

NAME = "Zelle für µ-Größen é"
BODY = (
    listed("Compartments", compartment("c", "1"))
    + listed("Species", species("A", 'initialConcentration="4"'), species("B", 'initialConcentration="0"'))
    + listed("Parameters", parameter("k", "0.25"))
    + listed("Reactions", reaction("r", "A", "B", "k*A"))
)
TEXT = sbml(BODY, model=f'id="m" name="{NAME}"')
DECLARATION = TEXT.partition("\n")[0]
PLAIN = sbml(BODY)


def declared(encoding: str | None, text: str = TEXT) -> str:
    """``text`` with another declaration, or with one that names no encoding."""
    new = '<?xml version="1.0"?>' if encoding is None else f'<?xml version="1.0" encoding="{encoding}"?>'
    return text.replace(DECLARATION, new)


#: What the declaration says, the bytes.
ENCODED = {
    "utf-8": TEXT.encode(),
    "utf-8 with a mark": codecs.BOM_UTF8 + TEXT.encode(),
    "no encoding": declared(None).encode(),
    "no encoding with a mark": codecs.BOM_UTF8 + declared(None).encode(),
    "single quotes": declared(None).replace("?>", " encoding = 'utf-8' ?>").encode(),
    "standalone": TEXT.replace("?>", ' standalone="yes"?>', 1).encode(),
    "no declaration": TEXT.partition("\n")[2].encode(),
    "windows-1252": declared("windows-1252").encode("cp1252"),
    "iso-8859-1": declared("ISO-8859-1").encode("latin-1"),
    "iso-8859-15": declared("iso-8859-15").encode("iso-8859-15"),
    "macintosh": declared("macintosh").encode("mac-roman"),
    "utf-16 little-endian": codecs.BOM_UTF16_LE + declared("UTF-16").encode("utf-16-le"),
    "utf-16 big-endian": codecs.BOM_UTF16_BE + declared("utf-16").encode("utf-16-be"),
    "utf-16 without a mark": declared("UTF-16LE").encode("utf-16-le"),
    "utf-16 that says utf-8": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-32": codecs.BOM_UTF32_LE + declared("UTF-32").encode("utf-32-le"),
    "gb18030": declared("GB18030").encode("gb18030"),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_every_encoding_becomes_the_same_model_and_the_same_document(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.xml"
    path.write_bytes(ENCODED[kind])
    system = sbmlump.load(path)
    assert system.name == NAME
    assert system.rates(0.0, system.initial_state()).tolist() == [-1.0, 1.0]
    document = open_sbml(path).data
    assert document.decode().count(NAME) == 1
    assert not document.startswith(codecs.BOM_UTF8)
    assert as_utf8(document, file="m") == document


@pytest.mark.parametrize("label", ["US-ASCII", "ascii", "ISO-8859-5", "Shift_JIS", "windows-1251"])
def test_files_that_hold_ascii_alone_are_read_whatever_they_declare(tmp_path: Path, label: str) -> None:
    path = tmp_path / "m.xml"
    path.write_bytes(declared(label, PLAIN).encode())
    assert sbmlump.load(path).states == ("A", "B")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (TEXT.encode("latin-1"), 2),
        (TEXT.replace("?>", "?>\n\n\n", 1).encode("cp1252"), 5),
        (declared("us-ascii").encode(), 2),
        (declared("utf-16").encode(), 1),
        (declared("rot13").encode(), 1),
        (declared("utf-7").encode(), 1),
        (declared("no-such-encoding").encode(), 1),
        (declared("windows-1252").encode("latin-1").replace("é".encode("latin-1"), b"\x81"), 2),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le") + b"\x00", 2),
        (codecs.BOM_UTF8 + TEXT.encode("latin-1"), 2),
    ],
)
def test_text_that_is_not_in_its_encoding_is_refused_as_that(data: bytes, line: int) -> None:
    with pytest.raises(InputError) as caught:
        prepare_bytes(data, file="m.xml")
    (reason,) = caught.value.reasons
    assert reason.code == "encoding"
    assert reason.line is not None
    assert reason.line >= 1 if b"\0" in data else reason.line == line


def test_lines_keep_their_numbers(tmp_path: Path) -> None:
    head = "<?xml\n  version='1.0'\n  encoding='ISO-8859-1'\n?>\n<!-- é -->\n"
    broken = head + PLAIN.partition("\n")[2].replace("</model>", "\n</mode>")
    path = tmp_path / "m.xml"
    path.write_bytes(broken.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        sbmlump.load(path)
    line = broken[: broken.index("</mode>")].count("\n") + 1
    assert [reason.line for reason in caught.value.reasons] == [line]


@given(st.binary(max_size=60), st.sampled_from(list(ENCODED)), st.integers(0, 400))
def test_damaged_bytes_are_read_or_refused_with_a_code(noise: bytes, kind: str, place: int) -> None:
    data = ENCODED[kind]
    data = data[:place] + noise + data[place + len(noise) :]
    try:
        prepared = prepare_bytes(data, file="m.xml")
    except InputError:  # anything else that is raised fails the test
        return
    prepared.decode("utf-8")


@pytest.mark.parametrize("kind", ["utf-8 with a mark", "no encoding", "windows-1252", "utf-16 little-endian"])
def test_every_command_takes_the_same_door(tmp_path: Path, kind: str) -> None:
    (tmp_path / "m.xml").write_bytes(ENCODED[kind])
    system = sbmlump.load(tmp_path / "m.xml")
    reduction = sbmlump.reduce(system, observe=["A"])
    reduction.write(tmp_path / "r.xml")
    assert isinstance(sbmlump.verify(tmp_path / "m.xml", tmp_path / "r.xml"), sbmlump.ExactProof)
    assert isinstance(sbmlump.verify(tmp_path / "m.xml", tmp_path / "m.xml"), sbmlump.ExactProof)


@pytest.mark.parametrize(
    ("level", "version", "uri", "known"),
    [
        ("2", "4", "level2/version4", True),
        ("2", "1", "level2", True),
        ("1", "2", "level1", True),
        ("3", "1", "level3/version1/core", True),
        ("2", "0", "level2/version4", False),
        ("2", "4", "level2/version3", False),
        ("2", "4", "level3/version1/core", False),
        ("2", "6", "level2/version6", False),
        ("3", "3", "level3/version3/core", False),
        ("4", "1", "level4/version1/core", False),
        ("", "", "level2/version4", False),
        ("x" * 5000, "1", "level3/version1/core", False),
    ],
)
def test_levels_that_do_not_exist_are_refused_before_libsbml_aborts(
    level: str, version: str, uri: str, known: bool
) -> None:
    law = "<stoichiometryMath><math xmlns='http://www.w3.org/1998/Math/MathML'><cn>1</cn></math></stoichiometryMath>"
    reference = f"<listOfReactants><speciesReference species='S'>{law}</speciesReference></listOfReactants>"
    inside = f"<model id='m'><listOfReactions><reaction id='r'>{reference}</reaction></listOfReactions></model>"
    spaces = " " * 300_000  # beyond this size most files are not looked at closely
    for filling in ("", spaces):
        root = f"<sbml xmlns='http://www.sbml.org/sbml/{uri}' level='{level}' version='{version}'>"
        data = f"<?xml version='1.0' encoding='UTF-8'?>\n{root}{inside}{filling}</sbml>".encode()
        if known:
            assert prepare_bytes(data, file="m.xml") == data
            continue
        with pytest.raises(InputError) as caught:
            prepare_bytes(data, file="m.xml")
        assert caught.value.reasons[0].code == "invalid-sbml"
        assert len(str(caught.value)) < 400


# -- compressed files and archives -------------------------------------------------------------------

ODE = "begin model m\n begin init\n  A = 1\n end init\n begin ODE\n  d(A) = -A\n end ODE\nend model\n"
SBML_FORMAT = "http://identifiers.org/combine.specifications/sbml.level-3.version-2"


def archive(path: Path, members: dict[str, bytes], manifest: list[tuple[str, str, bool]] | None = None) -> Path:
    """A zip archive; ``manifest`` holds location, format and whether it is the master."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        if manifest is not None:
            lines = "".join(
                f'<content location="{place}" format="{kind}" master="{"true" if master else "false"}"/>'
                for place, kind, master in manifest
            )
            space = "http://identifiers.org/combine.specifications/omex-manifest"
            file.writestr("manifest.xml", f'<omexManifest xmlns="{space}">{lines}</omexManifest>')
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_compressed_files_are_read_whatever_their_name(tmp_path: Path) -> None:
    for name, data in {
        "m.xml.gz": gzip.compress(TEXT.encode()),
        "m.xml.bz2": bz2.compress(ENCODED["utf-16 little-endian"]),
        "m.ode.gz": gzip.compress(ODE.encode()),
        "m.xml": gzip.compress(TEXT.encode()),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert sbmlump.load(tmp_path / name).states[0] == "A"


def test_the_only_model_or_the_master_of_an_archive_is_read(tmp_path: Path) -> None:
    other = TEXT.replace('id="m"', 'id="other"').encode()
    for i, path in enumerate(
        (
            archive(tmp_path / "a.zip", {"x/m.xml": TEXT.encode(), "x/readme.txt": b"<html/>"}),
            archive(tmp_path / "b.omex", {"m.xml": TEXT.encode()}, [("./m.xml", SBML_FORMAT, False)]),
            archive(
                tmp_path / "c.omex",
                {"m.xml": TEXT.encode(), "o.xml": other},
                [("m.xml", SBML_FORMAT, True), ("o.xml", SBML_FORMAT, False)],
            ),
            archive(tmp_path / "d.zip", {"m.ode": ODE.encode()}),
            archive(tmp_path / "f.zip", {"m.ant": b"model m; A = 1; A' = -A; end"}),
            archive(tmp_path / "g.zip", {"o.ant": b"model other; end", "m.xml": TEXT.encode()}),  # SBML goes before
            archive(  # the master, whatever its format
                tmp_path / "h.omex",
                {"m.ode": ODE.encode(), "o.ode": ODE.encode(), "o.xml": other},
                [("m.ode", "text/plain", True), ("o.xml", SBML_FORMAT, False)],
            ),
            archive(tmp_path / "e.zip", {"m.xml.gz": gzip.compress(TEXT.encode())}),
        )
    ):
        assert sbmlump.load(path).id == "m", i


def test_archives_of_several_models_say_what_they_hold(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.omex", {"one.xml": TEXT.encode(), "deep/two.xml": TEXT.encode()})
    with pytest.raises(InputError) as caught:
        sbmlump.load(path)
    assert caught.value.reasons[0].code == "several-models"
    assert "one.xml, deep/two.xml" in str(caught.value)
    assert sbmlump.load(f"{path}#deep/two.xml").id == "m"
    assert sbmlump.load(f"{path}#./one.xml").id == "m"
    with pytest.raises(InputError) as caught:
        sbmlump.load(f"{path}#three.xml")
    assert caught.value.reasons[0].code == "no-such-file"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (gzip.compress(b"\0" * 60_000_000), "too-large"),
        (bz2.compress(b"\0" * 60_000_000), "too-large"),
        (gzip.compress(TEXT.encode())[:-20], "unreadable-file"),
        (b"PK\x03\x04 and nothing more", "unreadable-file"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(TEXT.encode())))), "not-xml"),
    ],
)
def test_bombs_and_damaged_archives_are_refused(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "m.xml").write_bytes(data)
    with pytest.raises(InputError) as caught:
        sbmlump.load(tmp_path / "m.xml")
    assert caught.value.reasons[0].code == code


def test_hostile_members_are_neither_unpacked_nor_shown_as_they_are(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"../../outside.xml": TEXT.encode(), "\x1b[2Jclear.xml": TEXT.encode()})
    with pytest.raises(InputError) as caught:
        sbmlump.load(path)
    assert "\x1b" not in str(caught.value)
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["a.zip"]
    assert read_model_file(f"{path}#../../outside.xml").folder is None


def test_external_models_are_not_taken_for_files_beside_the_archive(tmp_path: Path) -> None:
    comp = "http://www.sbml.org/sbml/level3/version1/comp/version1"
    slow = BODY.replace("<reaction ", '<reaction fast="false" ')
    inner = sbml(slow, version=1, root=f'xmlns:comp="{comp}" comp:required="true"')
    (tmp_path / "inner.xml").write_text(inner, encoding="utf-8")
    definition = '<comp:externalModelDefinition comp:id="E" comp:source="inner.xml"/>'
    lists = f"<comp:listOfExternalModelDefinitions>{definition}</comp:listOfExternalModelDefinitions>"
    submodel = '<comp:listOfSubmodels><comp:submodel comp:id="S" comp:modelRef="E"/></comp:listOfSubmodels>'
    outer = sbml(submodel, version=1, root=f'xmlns:comp="{comp}" comp:required="true"')
    outer = outer.replace("</sbml>", f"{lists}</sbml>")
    (tmp_path / "outer.xml").write_text(outer, encoding="utf-8")
    assert sbmlump.load(tmp_path / "outer.xml").states == ("S__A", "S__B")
    with pytest.raises(sbmlump.UnsupportedModelError) as caught:
        sbmlump.load(archive(tmp_path / "a.zip", {"outer.xml": outer.encode()}))
    assert {reason.code for reason in caught.value.reasons} == {"comp-external"}
    if sys.platform != "win32":
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "inner.xml").symlink_to(tmp_path / "inner.xml")
        (tmp_path / "folder" / "outer.xml").write_text(outer, encoding="utf-8")
        with pytest.raises(sbmlump.UnsupportedModelError) as caught:
            sbmlump.load(tmp_path / "folder" / "outer.xml")
        assert "link" in str(caught.value)


def test_standard_input_is_a_model() -> None:
    command = [sys.executable, "-m", "sbmlump", "inspect", "-", "--json", "--structure"]  # reads its model twice
    data = gzip.compress(ENCODED["windows-1252"])
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert NAME in done.stdout.decode()


def test_a_whole_archive_in_memory_is_the_same_as_on_the_disk(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("m.xml", ENCODED["utf-16 big-endian"])
    (tmp_path / "m.bin").write_bytes(stream.getvalue())
    assert sbmlump.load(tmp_path / "m.bin").name == NAME
