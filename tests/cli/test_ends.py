"""How commands end: numbers out of range, output that cannot be written, hostile names, interrupts, leftovers."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from child_jobs import leaves_a_folder, processes_of_session, session_ended_with, wait_for
from hypothesis import given
from hypothesis import strategies as st
from network_models import sbml_model

from sbmlump.cli import run
from sbmlump.errors import UsageError, as_json_text, as_shown
from sbmlump.isolate import Limits, run_isolated
from sbmlump.survey import (
    Row,
    Settings,
    SurveyIdentity,
    claim_folder,
    finished_files,
    merge,
    read_rows,
    shard_name,
    write_part,
)

DATA = Path(__file__).resolve().parents[2] / "data"
SMALL = DATA / "clue_example.xml"
EXITS = {0, 1, 2, 3, 4, 74, 130}
NOT_SHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def started(*arguments, cwd=None, **streams):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment |= {"TMPDIR": str(streams.pop("temporary"))} if "temporary" in streams else {}
    command = [sys.executable, "-m", "sbmlump", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, cwd=cwd, start_new_session=True, **streams)


def ended(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


# -- text as shown -----------------------------------------------------------------------------------


@given(st.text(st.characters(codec=None)))
def test_nothing_that_steers_is_shown(text):
    shown = as_shown(text)
    assert not NOT_SHOWN.search(shown)
    shown.encode()
    escaped = as_json_text(json.dumps(text, ensure_ascii=False))
    assert not NOT_SHOWN.search(escaped)
    if not re.search("[\ud800-\udfff]", text):
        assert json.loads(escaped) == text
        assert as_shown(shown) == shown
    else:
        json.loads(escaped).encode()


def test_names_of_files_and_models_do_not_reach_the_terminal(tmp_path, capsys):
    text = SMALL.read_text("utf-8").replace('name="', 'name="\u202e\x9b31m', 1)
    named = tmp_path / "m\x1b[31m\udcff.xml"
    named.write_text(text, "utf-8")
    missing = tmp_path / "x\x1b]0;title\x07\udcfe\n.xml"
    for arguments in (["inspect", named], ["inspect", missing], ["reduce", named, "--observe", "x1", "--no-check"]):
        for extra in ([], ["--json"]):
            run([*map(str, arguments), *extra])
            told = capsys.readouterr()
            assert not NOT_SHOWN.search(told.out + told.err)
            if extra:
                json.loads(told.out)


# -- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1e-400", "1e400", "x1 + 1e400*x2", "1e-320*x1"])
def test_numbers_beyond_doubles_are_a_wrong_use(capsys, tmp_path, text):
    assert run(["reduce", str(SMALL), "--observe", text]) == 2
    assert "out of range" in capsys.readouterr().err
    matrix = tmp_path / "matrix.csv"
    matrix.write_text("1e-400,1,1\n", "utf-8")
    assert run(["reduce", str(SMALL), "--observe", "x1", "--lumping", str(matrix)]) == 2


@pytest.mark.parametrize(
    "limit", ["--time-limit=1e300", "--memory-limit=1e13", "--time-limit=-1", "--memory-limit=nan"]
)
def test_limits_that_no_system_has(capsys, limit):
    assert run(["inspect", str(SMALL), limit]) == 2
    assert limit.split("=")[0] in capsys.readouterr().err


NASTY = ["nan", "inf", "-inf", "-1", "0", "1e300", "1e-400", "1e400", "9" * 30, "", " ", "x", "\x1b[31m", "\udcff", "٣"]
OPTIONS = {
    "inspect": ["--time-limit", "--memory-limit", "--against", "--bogus"],
    "reduce": "--until --points --tolerance --max-size --max-error --ensemble --spread --perturb-parameters --work "
    "--threshold --seed --method --algorithm --keep-parameters --lumping --fast --weighting --total --reconstruct --as "
    "--time-limit --memory-limit --observe".split(),
    "check": ["--until", "--points", "--max-error", "--simulator"],
    "verify": ["--seed"],
    "convert": ["-o"],
    "curve": ["--until", "--max-size", "--ensemble", "--spread", "--seed", "--algorithm"],
    "compare-methods": [
        "--until",
        "--max-size",
        "--max-error",
        "--ensemble",
        "--spread",
        "--seed",
        "--method",
        "--fast",
    ],
    "survey": "--workers --time-limit --memory-limit --shard --sample --seed --method --observe".split(),
}
ARGUMENTS = {
    "inspect": ["MODEL"],
    "reduce": ["MODEL", "--observe", "x1", "--no-check"],
    "check": ["MODEL", "MODEL"],
    "verify": ["MODEL", "MODEL"],
    "convert": ["MODEL"],
    "curve": ["MODEL", "--observe", "x1"],
    "compare-methods": ["MODEL", "--observe", "x1"],
    "survey": ["FOLDER", "-o", "OUT"],
}
BAD_NUMBERS = {"nan", "inf", "-inf", "-1", "", " ", "x", "\x1b[31m", "\udcff", "9" * 30}
NUMBERS = re.compile(
    "--(until|points|max|ensemble|spread|seed|time|memory|workers|sample|tolerance|threshold|perturb|work)"
)


@pytest.mark.parametrize("command", ARGUMENTS)
def test_nasty_values_of_every_option(command, capsys, tmp_path):
    """Every option with values out of its range, and with a few others at random."""
    draw = random.Random(command)
    places = {"MODEL": str(SMALL), "FOLDER": str(tmp_path / "store"), "OUT": str(tmp_path / "out")}
    (tmp_path / "store").mkdir()
    shutil.copy(SMALL, tmp_path / "store")
    for option in OPTIONS[command]:
        number = bool(NUMBERS.match(option))
        values = [v for v in NASTY if v in BAD_NUMBERS and v != "9" * 30] if number else draw.sample(NASTY, 3)
        for value in values:
            arguments = [places.get(a, a) for a in ARGUMENTS[command]]
            output = str(tmp_path / value) if command == "convert" and "\x00" not in value else value
            code = run(
                [
                    command,
                    *arguments,
                    f"{option}={output}" if option[:2] == "--" else option,
                    *([] if option[:2] == "--" else [output]),
                    "--json",
                ]
            )
            told = capsys.readouterr()
            assert code in EXITS, (option, value, told.err)
            assert "Traceback" not in told.err
            assert len(told.out.splitlines()) == 1
            found = json.loads(told.out)
            if number:
                assert code == 2, (option, value)
                assert found["reasons"]


BAD_FILES = {"missing": None, "empty": b"", "garbage": bytes(range(256)), "folder": None}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_every_command_with_a_bad_file(kind, capsys, tmp_path):
    bad = tmp_path / "bad.xml"
    if kind == "folder":
        bad.mkdir()
    elif kind != "missing":
        bad.write_bytes(BAD_FILES[kind])
    output = str(tmp_path / "out.xml")
    for command, arguments in (
        ("inspect", [bad]),
        ("reduce", [bad, "--observe", "x1"]),
        ("convert", [bad, "-o", output]),
        ("check", [bad, SMALL]),
        ("check", [SMALL, bad]),
        ("verify", [SMALL, bad]),
        ("curve", [bad, "--observe", "x1"]),
        ("compare-methods", [bad, "--observe", "x1"]),
        ("inspect", [SMALL, "--against", bad]),
    ):
        assert run([command, *map(str, arguments), "--json"]) == 3, command
        told = capsys.readouterr()
        assert json.loads(told.out)["outcome"] == "failed"
        assert run([command, *map(str, arguments)]) == 3
        told = capsys.readouterr()
        assert told.out == ""
        assert len(told.err.splitlines()) == 1
    assert not Path(output).exists()


# -- streams -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["inspect", SMALL], ["inspect", SMALL, "--json"], ["inspect", "nosuch", "--json"]],
    ids=lambda value: " ".join(map(str, value))[:20],
)
def test_output_that_cannot_be_written(arguments):
    with Path("/dev/full").open("wb") as full:
        code, _, err = ended(started(*arguments, stdout=full, stderr=subprocess.PIPE))
    assert code == 74
    assert err.splitlines()[-1].startswith("standard output cannot be written")
    assert "Traceback" not in err
    assert err.count("standard output") == 1


def test_closed_streams(tmp_path):
    def without(*numbers):
        return lambda: [os.close(number) for number in numbers]

    code, _, err = ended(started("inspect", SMALL, stderr=subprocess.PIPE, preexec_fn=without(1)))
    assert code == 74
    assert err == "standard output is closed; send the results to a file or to /dev/null\n"
    code, out, _ = ended(started("inspect", SMALL, "--json", stdout=subprocess.PIPE, preexec_fn=without(0, 2)))
    assert code == 0
    assert json.loads(out)["states"] == 3
    code, _, _ = ended(started("inspect", tmp_path / "nosuch", stdout=subprocess.PIPE, preexec_fn=without(2)))
    assert code == 3


# -- processes ---------------------------------------------------------------------------------------


def test_a_long_path_of_the_temporary_folder(tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    process = started(
        "inspect", SMALL, "--isolate", "--json", temporary=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    code, out, err = ended(process)
    assert (code, err) == (0, "")
    assert json.loads(out)["states"] == 3
    assert list(folder.iterdir()) == []


def test_a_child_that_is_killed_leaves_nothing(tmp_path):
    told = []
    run_isolated(leaves_a_folder, (tmp_path,), Limits(), told.append)
    assert len(told) == 1
    assert not Path(told[0]).exists()


def waiting_for(path, but=(), seconds=60):
    """The folder in which a process keeps its files, when it has some."""
    end = time.monotonic() + seconds
    while True:
        found = [job.parent for job in path.glob("sbmlump-*/job-*") if job.parent not in but]
        if found:
            return found[0]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_a_killed_run_left_is_gone_after_the_next(tmp_path):
    temporary = tmp_path / "tmp"
    foreign = temporary / "sbmlump-of-somebody"
    foreign.mkdir(parents=True)
    arguments = ["reduce", DATA / "multisite_4.xml", "--observe", "kinase", "--isolate"]
    process = started(*arguments, temporary=temporary, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    dead = waiting_for(temporary)
    process.kill()
    process.wait()
    assert len(list(temporary.iterdir())) == 2
    living = started(*arguments, temporary=temporary, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    mine = waiting_for(temporary, but=[dead])
    code, _, _ = ended(started("inspect", SMALL, "--isolate", temporary=temporary, stdout=subprocess.DEVNULL))
    assert code == 0
    assert living.poll() is None
    assert mine.exists()
    assert not dead.exists()
    os.killpg(living.pid, signal.SIGINT)
    code, _, err = ended(living)
    assert code == 130
    assert err.split() == ["interrupted"]
    assert list(temporary.iterdir()) == [foreign]


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name in ("resource", "fcntl", "pwd", "grp", "termios"):
            raise ImportError(name)
sys.meta_path.insert(0, Block())
import multiprocessing, signal, os
for name in ("SIGKILL", "SIGXCPU", "pthread_sigmask"):
    delattr(signal, name)
from sbmlump.cli import run
from sbmlump.errors import UsageError
for arguments in (["--help"], ["reduce", "--help"], ["survey", "--help"], ["crawl", "--help"], ["inspect", MODEL],
                  ["reduce", MODEL, "--observe", "x1", "--no-check", "-o", OUT]):
    assert run(arguments) == 0, arguments
"""


def test_without_what_only_posix_has(tmp_path):
    code = f"MODEL = {str(SMALL)!r}; OUT = {str(tmp_path / 'out.xml')!r}\n{BLOCKED}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.xml").exists()


# -- surveys -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
def test_no_simulation_outlives_its_command(tmp_path):
    """libRoadRunner keeps the interpreter's lock while it integrates: only the kernel can end it then."""
    model = tmp_path / "fast.xml"
    model.write_text(sbml_model({"x": 1, "y": 0}, {}, {"w": 1e3}, rate_rules={"x": "w * y", "y": "-w * x"}))
    arguments = ("--until", "3000", "--points", "10000", "--isolate")
    process = started("check", model, model, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with session_ended_with(process):
        wait_for(lambda: _busiest(process.pid) > 3)  # seconds of CPU, more than reading and loading take
        process.terminate()
        ended(process, 20)  # whoever holds its output would be waited for
        wait_for(lambda: not processes_of_session(process.pid))


def _busiest(leader):
    """CPU seconds of the busiest child in a session."""
    stats = [Path(f"/proc/{one}/stat") for one in set(processes_of_session(leader)) - {leader}]
    fields = [path.read_text(encoding="utf-8").rsplit(")", 1)[1].split() for path in stats if path.exists()]
    return max((int(one[11]) + int(one[12]) for one in fields), default=0) / os.sysconf("SC_CLK_TCK")


def test_a_refused_model_counts_for_each_of_several_methods(tmp_path, capsys):
    store, out = tmp_path / "store", tmp_path / "out"
    store.mkdir()
    shutil.copy(SMALL, store / "a.xml")
    (store / "b.xml").write_text("<html></html>")
    assert run(["survey", str(store), "-o", str(out), "--method", "exact,conservation"]) == 0
    told = capsys.readouterr().out
    assert "exact: 1 failed, 2 not-reducible, 1 reduced" in told
    assert "conservation: 1 failed" in told
    report = tmp_path / "report.md"
    assert run(["survey-report", str(out), "--summary", str(report)]) == 0
    assert "| conservation | failed | 1 |" in report.read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs /proc")
def test_what_is_no_file_is_never_waited_for(tmp_path, capsys):
    store = tmp_path / "store"
    store.mkdir()
    shutil.copy(SMALL, store / "a.xml")
    os.mkfifo(store / "pipe.xml")
    (store / "made-up.xml").symlink_to("/proc/version")
    (store / "nowhere.xml").symlink_to("absent")
    odd = {"pipe.xml": "not-a-regular-file", "made-up.xml": "not-a-regular-file", "nowhere.xml": "no-such-file"}
    assert run(["survey", str(store), "-o", str(tmp_path / "out"), "--json"]) == 0
    assert {r["file"]: r["reason"] for r in read_rows(tmp_path / "out") if r["outcome"] == "failed"} == odd
    assert run(["crawl", "import", str(store), "--store", str(tmp_path / "kept"), "--json"]) == 0
    assert {one["code"] for one in json.loads(capsys.readouterr().out.splitlines()[-1])["reasons"]} == {
        "unreadable-file"
    }
    for name in ("pipe.xml", "made-up.xml"):
        path = str(store / name)
        assert run(["reduce", str(SMALL), "--observe", "x1", "--method", "lumping", "--lumping", path]) == 2
        assert run(["survey", str(store), "-o", str(tmp_path / "new"), "--observe", path]) == 2
        told = capsys.readouterr().err
        assert told.count("a device or a pipe" if name == "pipe.xml" else "no regular file with a size") == 2


def test_names_that_are_not_text_and_files_that_are_too_large(tmp_path, capsys):
    store = tmp_path / "store"
    (store / "d\udcff").mkdir(parents=True)
    for name in ("a\udcff.xml", "a\\xff.xml", "d\udcff/b.xml", "c\x1b[31m\u202e.xml"):
        shutil.copy(SMALL, store / name)
    with (store / "big.xml").open("wb") as file:
        file.truncate(257 << 20)
    assert run(["survey", str(store), "-o", str(tmp_path / "out"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["models"] == 5
    assert told.err == ""
    rows = read_rows(tmp_path / "out")
    assert {(r["outcome"], r["reason"]) for r in rows if r["file"] == "big.xml"} == {("failed", "too-large")}
    assert len({r["file"] for r in rows if r["outcome"] == "reduced"}) == 4
    pages = [path.read_text("utf-8") for path in (tmp_path / "out").rglob("*.html")]
    assert len(pages) == 6
    assert not any(NOT_SHOWN.search(page) for page in pages)
    assert run(["survey", str(store), "-o", str(tmp_path / "out"), "--no-page"]) == 0
    assert not NOT_SHOWN.search(capsys.readouterr().out)


def test_shards_at_once(tmp_path):
    """Parts that are written, read and moved into shards by many at once are neither lost nor counted twice."""
    files = [f"m{k}.xml" for k in range(24)]

    def shard(index):
        for _ in range(3):  # again and again empty the folder of parts and fill it
            for file in files[index::4]:
                if file not in finished_files(tmp_path):
                    write_part(tmp_path, [Row(file, file, None, name, "exact", "reduced") for name in "AB"])
            merge(tmp_path, files[index::4], shard_name(index + 1, 4))
            # another cut of the same models: what one moves is what another may be reading
            write_part(tmp_path, [Row(f"extra{index}", "extra", None, "A", "exact", "reduced")])
            merge(tmp_path, [*files, f"extra{index}"], shard_name(1, 1))
            assert len(read_rows(tmp_path)) >= 2 * len(files[index::4])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(shard, range(4)))
    rows = read_rows(tmp_path)
    assert len({(row["file"], row["observable"]) for row in rows}) == len(rows) == 2 * 24 + 4


def test_two_surveys_claim_one_folder(tmp_path):
    def claim(seed):
        barrier.wait()
        try:
            claim_folder(folder, SurveyIdentity(Settings(seed=seed), "each", 1, "digest"))
        except UsageError as error:
            return error.reasons[0].code
        return "claimed"

    with ThreadPoolExecutor(3) as pool:
        for k in range(20):
            folder, barrier = tmp_path / str(k), Barrier(3)
            assert sorted(pool.map(claim, range(3))) == ["claimed", "survey-differs", "survey-differs"]


def test_a_contradicted_proof_in_a_survey_is_an_internal_error(tmp_path, capsys):
    store = tmp_path / "store"
    store.mkdir()
    shutil.copy(SMALL, store)
    assert run(["survey", str(store), "-o", str(tmp_path / "out"), "--no-page"]) == 0
    row = Row("b.xml", "b", None, "A", "exact", "failed", reason="proof-contradicted")
    write_part(tmp_path / "out", [row])
    capsys.readouterr()
    assert run(["survey", str(store), "-o", str(tmp_path / "out"), "--no-page", "--json"]) == 70
    told = capsys.readouterr()
    assert json.loads(told.out)["reason_counts"]["proof-contradicted"] == 1
    assert "internal error: 1 row" in told.err
    assert run(["survey-report", str(tmp_path / "out")]) == 70
