"""The page of a survey: offline, small, sorts and filters, without errors in Chromium."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
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
    values = {**base, "reduced_size": size, "ratio": ratio, "exact": None if size is None else True, **rest}
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


class Charts(HTMLParser):
    """Shapes of charts outside links, and links without a title."""

    def __init__(self):
        super().__init__()
        self.chart = self.link = False
        self.links, self.bare, self.untitled, self.boxes = [], [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "svg" and given.get("class") == "links":
            self.chart = True
            self.boxes.append(given["viewbox"])
        if self.chart and tag == "a":
            self.link, self.title = given["href"], False
            self.links.append(given["href"])
        if self.chart and tag == "title":
            self.title = True
        if self.chart and tag in ("rect", "circle", "path", "polyline"):
            if not self.link:
                self.bare.append(self.get_starttag_text())
            elif not self.title:
                self.untitled.append(self.link)

    def handle_endtag(self, tag):
        if tag == "a":
            self.link = False
        if tag == "svg":
            self.chart = False


def charts(page):
    found = Charts()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def test_every_mark_is_a_link_with_a_title(survey):
    found = charts(survey)
    assert len(found.boxes) == 10  # five charts, each for wide pages and for phones
    assert {int(box.split()[2]) for box in found.boxes} == {720, 340}
    assert (found.bare, found.untitled) == ([], [])
    assert "models/every.html" in found.links
    assert "#models?result=every" in found.links
    targets = set(re.findall(r'id="([^"]+)"', survey.read_text(encoding="utf-8")))
    for link in found.links:
        file, _, place = link.partition("#")
        assert (survey.parent / file).exists()
        assert not place or place.split("?")[0] in targets


def test_sizes_at_errors(tmp_path):
    """Exact sizes beside those at 1, 5 and 10 %, on the first chart and on the model's page."""
    rows = [row("m", name, "reduced", 3, size_at_1_percent=3, size_at_5_percent=3, size_at_10_percent=3, exact=True)
            for name in "AB"]  # fmt: skip
    rows.append(Row("m.xml", "m", "0" * 64, "A", "approximate", "reduced", original_size=4, reduced_size=2, ratio=0.5,
                    exact=False, worst_error=0.03, size_at_5_percent=2, size_at_10_percent=1, kinetics="polynomial",
                    level=3, seconds_model=1.0))  # fmt: skip
    write_part(tmp_path, rows)
    page = write_survey_page(tmp_path, IDENTITY, read_rows(tmp_path))
    found = summarise(read_rows(tmp_path))
    assert [sorted(size for size, _ in found.sizes(error)) for error in (0, 1, 5, 10)] == [
        [3, 3],
        [3, 3],
        [2, 3],
        [1, 3],
    ]
    assert (found.observables, found.answered, found.reduced) == (2, 2, 2)
    text = page.read_text(encoding="utf-8")
    assert "What one gets for 1 %" in text
    assert "5 % error: 1 of 2 observables keep at most 50% of the states" in text
    model = tmp_path / "models" / "m.html"
    assert "A: 3 → 3 → 2 → 1 states" in model.read_text(encoding="utf-8")
    assert set(charts(model).links) == {"#o0", "#o1"}
    assert 'id="o0"' in model.read_text(encoding="utf-8")


def test_a_method_of_which_no_size_is_known(tmp_path):
    rows = [row("m", "A", "reduced", 3), replace(row("m", "A", "failed", reason="time-limit"), method="qssa")]
    write_part(tmp_path, rows)
    page = write_survey_page(tmp_path, {**IDENTITY, "methods": ["exact", "qssa"]}, read_rows(tmp_path))
    text = page.read_text(encoding="utf-8")
    assert "qssa: there is no observable whose reduced size is known" in text
    assert "exact: there is no observable" not in text


def test_the_data_beside_the_page(survey):
    text = survey.read_text(encoding="utf-8")
    assert 'href="survey.csv"' in text
    with (survey.parent / "survey.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["file"], r["observable"], r["reduced_size"]) for r in rows][1:3] == [
        ("every.xml", "A", "1"),
        ("every.xml", "B", "2"),
    ]


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
            if "scroll" in given.get("class", "").split() and not (
                given.get("tabindex") == "0" and given["aria-label"]
            ):
                self.problems.append("what scrolls and cannot be reached by keyboard")
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
  out.push(location.hash);
  set("filter-kinetics", "polynomial"); out.push(location.hash); set("filter-kinetics", "");
  location.hash = "#models?result=remains&sort=0&order=descending"; window.dispatchEvent(new Event("hashchange"));
  out.push(shown()); location.hash = "#models?error=0&share=0.25"; window.dispatchEvent(new Event("hashchange"));
  out.push(shown()); out.push(document.querySelector(".chart.phone").offsetHeight === 0);
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
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    told = json.loads(html.unescape(found[1]))
    assert told["wrong"] == []
    assert told["out"][:4] == ["bad,every,none,page,some", "some", "every", "bad"]
    assert told["out"][4].split(",")[:3] == ["every", "some", "none"]
    assert told["out"][5] == "none,some,every,bad,page"  # what is not known comes last either way
    assert told["out"][6:8] == [
        "#models?sort=5&order=descending",
        "#models?kinetics=polynomial&sort=5&order=descending",
    ]
    assert told["out"][8:] == ["some,none", "every", True]
    shot = tmp_path / "page.png"
    picture = [*command[:-2], f"--screenshot={shot}", survey.as_uri()]
    subprocess.run(picture, capture_output=True, timeout=120, check=True)
    assert shot.read_bytes().startswith(b"\x89PNG")
