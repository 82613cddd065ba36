"""The page of a survey: offline, small, sorts and filters, without errors in Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from sbmlump.report import summarise, write_survey_page
from sbmlump.survey import Row, read_rows, write_part

IDENTITY = {
    "version": "0", "began": "2024-01-01T00:00:00Z", "machine": "m", "store": "0" * 64, "methods": ["exact"],
    "observe": "each", "check": True, "time_limit": 60.0, "memory_limit": 1 << 30, "models": 5,
}  # fmt: skip


def row(model, observable, outcome, size=None, **rest):
    base = {"original_size": 4, "kinetics": "polynomial", "seconds_model": 0.5, "level": 3, "version": 1}
    ratio = None if size is None else size / 4
    values = {**base, "reduced_size": size, "ratio": ratio, **rest}
    return Row(f"{model}.xml", model, "0" * 64, observable, "exact", outcome, **values)


@pytest.fixture
def survey(tmp_path):
    pooled = row("every", "B", "reduced", 2, pools="A + 2 B", kept="C", proper=True)
    checked = row(
        "every", "A", "reduced", 1, max_relative_error=1e-9, trajectory_time=(0.0, 1.0),
        trajectory_original=(1.0, 2.0), trajectory_reduced=(1.0, 2.0),
    )  # fmt: skip
    some = [row("some", k, o, n, kinetics="rational") for k, o, n in (("A", "reduced", 3), ("B", "not-reducible", 4))]
    none = [row("none", "A", "not-reducible", 4, reason="not-reducible", name="<b>odd & name</b>")]
    bad = [row("bad", None, "unsupported", kinetics=None, reason="delay", message="it has a delay", original_size=None)]
    page = [row("page", None, "failed", kinetics=None, level=None, version=None, reason="not-sbml", original_size=None)]
    for rows in ([checked, pooled], some, none, bad, page):
        write_part(tmp_path, rows)
    return write_survey_page(tmp_path, IDENTITY, read_rows(tmp_path))


def test_counts(survey):
    found = summarise(read_rows(survey.parent))
    assert (found.files, found.rows, found.readable, found.supported) == (5, 7, 4, 3)
    assert found.reducible == {"exact": (2, 1)}
    assert found.by_kinetics == {"exact": {"polynomial": (2, 1, 1), "rational": (1, 1, 0)}}
    assert found.reasons == {"delay": 1, "not-sbml": 1}


def test_offline_and_complete(survey):
    text = survey.read_text(encoding="utf-8")
    pages = sorted(path.name for path in (survey.parent / "models").iterdir())
    assert pages == ["bad.html", "every.html", "none.html", "page.html", "some.html"]
    for link in re.findall(r'(?:href|src)="([^"#]+)', text):
        assert link.startswith("data:") or (survey.parent / link).exists(), link
    for path in [survey, *(survey.parent / "models").iterdir(), *(survey.parent / "assets").iterdir()]:
        assert not re.search(r'(?:src|href)="https?:|@import|url\(http|fetch\(', path.read_text(encoding="utf-8"))
    assert "&lt;b&gt;odd &amp; name" in text
    assert "<b>odd" not in text
    assert "it has a delay" in (survey.parent / "models" / "bad.html").read_text(encoding="utf-8")
    assert "polyline" in (survey.parent / "models" / "every.html").read_text(encoding="utf-8")


def test_accessible(survey):
    class Checker(HTMLParser):
        def __init__(self):
            super().__init__()
            self.problems = []

        def handle_starttag(self, tag, attributes):
            given = dict(attributes)
            if tag == "html" and not given.get("lang"):
                self.problems.append("no language")
            if tag == "svg" and not given.get("aria-label"):
                self.problems.append("a picture without a label")
            if tag == "th" and not given.get("scope"):
                self.problems.append("a head without scope")

    for path in [survey, *(survey.parent / "models").iterdir()]:
        checker = Checker()
        checker.feed(path.read_text(encoding="utf-8"))
        assert not checker.problems, path


def test_in_chromium(survey, tmp_path):
    """A script beside the page's own filters and sorts; what it finds is read from the document."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    probe = """<script>
window.wrong = []; window.addEventListener("error", (e) => window.wrong.push(e.message));
window.addEventListener("load", () => {
  const shown = () => [...document.querySelectorAll("#models-table tbody tr")].filter((r) => !r.hidden)
    .map((r) => r.cells[0].textContent).join(",");
  const set = (id, value) => { const e = document.getElementById(id); e.value = value;
    e.dispatchEvent(new Event("input", { bubbles: true })); };
  const out = [shown()];
  set("filter-kinetics", "rational"); out.push(shown()); set("filter-kinetics", "");
  set("filter-result", "every"); out.push(shown()); set("filter-result", "");
  set("filter-text", "delay"); out.push(shown()); set("filter-text", "");
  const head = document.querySelectorAll("#models-table thead th button")[5];
  head.click(); out.push(shown()); head.click(); out.push(shown());
  document.body.dataset.probe = JSON.stringify({ out, wrong: window.wrong });
});
</script></head>"""
    page = survey.with_name("probe.html")
    page.write_text(survey.read_text(encoding="utf-8").replace("</head>", probe))
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    told = json.loads(found[1].replace("&quot;", '"'))
    assert told["wrong"] == []
    assert told["out"][:4] == ["bad,every,none,page,some", "some", "every", "bad"]
    assert told["out"][4].split(",")[:3] == ["every", "some", "none"]
    assert told["out"][5] == "none,some,every,bad,page"  # what is not known comes last either way
    shot = tmp_path / "page.png"
    picture = [*command[:-2], f"--screenshot={shot}", survey.as_uri()]
    subprocess.run(picture, capture_output=True, timeout=120, check=True)
    assert shot.read_bytes().startswith(b"\x89PNG")
