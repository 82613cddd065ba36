"""The page of one reduction: what went in, what came out, how far they differ and why one may believe it."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sbmlump._version import __version__
from sbmlump.arrays import Array
from sbmlump.errors import UsageError, as_shown, counted, shortened
from sbmlump.files import SBML_SUFFIXES, make_folder, refuse_output, write_atomically
from sbmlump.formats.presentation import equations_of
from sbmlump.jobs import page_files
from sbmlump.linalg.rational import content
from sbmlump.model.domains import nearest_double
from sbmlump.model.reduced import Certificate, ErrorEstimate, LumpingMatrix, Meaning, ReducedSystem
from sbmlump.model.system import OdeSystem
from sbmlump.model.text import one_line, short_number, signed_terms
from sbmlump.model.units import time_unit_of
from sbmlump.options import SIMULATOR_NAMES
from sbmlump.outcome import Outcome
from sbmlump.plot_style import BLUE, ORANGE, PAGE
from sbmlump.report.network_picture import network_pictures
from sbmlump.simulators.comparison import ErrorReport, draw_error, draw_trajectory
from sbmlump.structure.meaning import meanings_of, what_follows, what_vanished

if TYPE_CHECKING:
    import jinja2
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ModelPageSettings",
    "duration",
    "environment",
    "write_model_page",
    "write_outcome_page",
    "MatrixPicture",
    "error_svg",
    "matrix_svg",
    "svg_of",
    "trajectory_svgs",
]


@dataclass(frozen=True, slots=True)
class ModelPageSettings:
    """How much a page shows.

    Attributes
    ----------
    panels : int
        Observables with a trajectory: four rows of three.
    lines : int
        Lines in the plot of errors: as many as there are colours.
    terms : int
        Of a lump, before the rest has to be unfolded.
    sentences : int
        Lumps told in words before the table of all.
    filtered : int
        Lumps from which on the table has a filter.
    title : int
        Characters of a title over a panel.
    digits : int
        Significant ones of a coefficient that was measured.
    """

    panels: int = 12
    lines: int = 8
    terms: int = 8
    sentences: int = 8
    filtered: int = 9
    title: int = 34
    digits: int = 3


def write_model_page(
    folder: str | Path,
    reduction: ReducedSystem,
    report: ErrorReport | None,
    *,
    original_file: str | Path | None = None,
    reduced_file: str | Path | None = None,
    command: Sequence[str] = (),
    written: OdeSystem | None = None,
    files: Mapping[str, bytes] | None = None,
    notes: Sequence[str] = (),
    remarks: Sequence[str] = (),
    compared: Sequence[str] = (),
    settings: ModelPageSettings = ModelPageSettings(),
) -> Path:
    """Write ``index.html`` into ``folder`` (made if it is not there) and return its path.

    One file that works offline: styles, script and pictures are in it. The same input gives the same bytes. The file
    appears whole or not at all.

    Parameters
    ----------
    folder : path
    reduction : ReducedSystem
    report : ErrorReport or None
        The comparison by simulation; without it the page says that none was made.
    original_file, reduced_file : path, optional
        Files of the two models, as the page is to name them.
    command : sequence of str
        The command that made the reduction, program first; empty if it was not made from the command line.
    written : OdeSystem, optional
        The reduced model as its file is read, which may have reactions where ``reduction`` has none.
    files : mapping of str to bytes, optional
        What is written beside the page, by name; nothing over files of the user's.
    notes : sequence of str
        What else is to be said of these files.
    remarks : sequence of str
        What else is to be said of the reduction.
    compared : sequence of str
        How the two models were compared where that was not by simulating the two files.
    settings : ModelPageSettings

    Raises
    ------
    OutputError
        The folder or the file cannot be written.
    """
    target = make_folder(folder)
    page = target / "index.html"
    beside, said = _written_beside(target, files or {}, original_file)
    where = {"original": _shown(original_file), "reduced": _shown(reduced_file)}
    content = {
        **_content(reduction, report, written or reduction.system, settings),
        "files": where,
        "said": remarks,
        "compared": compared,
        "command": shlex.join(command),
        "downloads": [{"name": name, "what": _DOWNLOADS.get(Path(name).suffix, "")} for name in beside],
        "download_notes": [*notes, *said],
        "uses": _uses("reduced.xml" if "reduced.xml" in beside else where["reduced"], reduction),
    }
    text = environment().get_template("model_page.html").render(**content)
    write_atomically(page, as_shown(text).encode())
    return page


def write_outcome_page(
    folder: str | Path, outcome: Outcome, *, original_file: str | Path, command: Sequence[str] = ()
) -> Path:
    """The page of a job, with the reduced model as SBML, as Antimony and its matrix beside it.

    Raises
    ------
    OutputError
        As :func:`write_model_page`.
    """
    assert outcome.reduction is not None
    document = outcome.document
    files, reasons = page_files(outcome)
    return write_model_page(
        folder,
        outcome.reduction,
        outcome.report,
        original_file=original_file,
        reduced_file=outcome.output,
        command=command,
        written=None if document is None or document.read_back is None else document.read_back.system,
        files=files,
        notes=[reason.message for reason in reasons],
        remarks=[_as_sentence(reason.message) for reason in outcome.reasons if reason.code in _SAID],
        compared=[_as_sentence(reason.message) for reason in outcome.reasons if reason.code in _COMPARED],
    )


_SAID: Final = frozenset({"conserved-totals", "interrupted", "not-reducible", "time-limit"})
"""Reasons that the page says beside those of the reduction itself."""
_COMPARED: Final = frozenset({"petab-compared", "petab-not-compared"})
_DOWNLOADS: Final = {
    ".xml": "the reduced model as SBML Level 3 Version 2",
    ".ant": "the same as Antimony text",
    ".csv": "the lumping matrix: a row for each reduced state, a column for each original one",
}


def _written_beside(
    folder: Path, files: Mapping[str, bytes], original: str | Path | None
) -> tuple[list[str], list[str]]:
    """Write files; the names of those that are there, and why others are not."""
    names: list[str] = []
    said: list[str] = []
    for name, data in files.items():
        place = folder / name
        table = place.suffix == ".csv" and place.is_file() and place.read_bytes().startswith(data[:5])
        try:
            refuse_output(place, original, force=table)  # a table has no comment that tells whose it is
        except UsageError as error:
            said += [reason.message for reason in error.reasons]
            continue
        write_atomically(place, data)
        names.append(name)
    return names, said


def _uses(file: str | None, reduction: ReducedSystem) -> list[dict[str, str]]:
    """What to type in other programs to work with the reduced model."""
    if file is None or not file.endswith(SBML_SUFFIXES):
        return []
    name = shlex.quote(file)
    shown = [one.id for one in reduction.observables]
    selections = ", ".join(map(repr, ["time", *shown]))
    return [
        {
            "where": "COPASI",
            "how": "File, Import SBML …; or from a terminal:",
            "text": f"CopasiUI {name}\nCopasiSE --importSBML {name} --save reduced.cps",
        },
        {
            "where": "Tellurium",
            "how": "In Python:",
            "text": (
                "import tellurium as te\n"
                f"model = te.loadSBMLModel({file!r})\n"
                f"model.simulate(0, 100, 201, [{selections}])\n"
                "model.plot()"
            ),
        },
        {
            "where": "PEtab",
            "how": "In problem.yaml of a problem of version 1, whose observables use ids that the reduced model has:",
            "text": f"problems:\n- sbml_files: [{json.dumps(file)}]",
        },
        {
            "where": "sbmlump",
            "how": "Prove the reduction again from the two files, without simulation; simulate both:",
            "text": f"sbmlump verify ORIGINAL {name}\nsbmlump check ORIGINAL {name}",
        },
    ]


def _shown(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


def environment() -> jinja2.Environment:
    """Templates of this package; everything that is put in is escaped, and an unknown name is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files(__package__) / "templates" / name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _content(
    reduction: ReducedSystem, report: ErrorReport | None, written: OdeSystem, settings: ModelPageSettings
) -> dict[str, Any]:
    original = reduction.original
    meanings = meanings_of(reduction)
    told = _told(meanings, settings)
    coordinates = any(one.kind == "coordinate" for one in meanings.values())
    return {
        "version": __version__,
        "model": {"id": original.id, "name": original.name, "sha256": original.origin.sha256},
        "before": original.size,
        "after": reduction.system.size,
        "reducible": reduction.reducible,
        "shortfall": [one.message for one in reduction.shortfall],
        "coordinates": coordinates,
        "vanished": _told_of(reduction, what_vanished(reduction), reduction.vanished),
        "follows": _told_of(reduction, what_follows(reduction), reduction.given_by_formulas),
        "largest": _largest(reduction, report),
        "meanings": told,
        "patterns": any("*" in (one["label"] or "") for one in told),
        "networks": network_pictures(reduction, written, meanings) if reduction.reducible else (),
        "equations": equations_of(reduction.system, [one.id for one in reduction.observables]),
        "method": reduction.method,
        "observables": [{"id": o.id, "text": o.text, "name": _name(reduction, o.id)} for o in reduction.observables],
        "certificate": certificate_words(reduction.certificate),
        "remarks": (*reduction.remarks, *(one.message for one in reduction.reasons if one.code == "exact-instead")),
        "report": None if report is None else _simulation(reduction, report, settings),
        "matrix": _matrix(reduction, meanings),
        **_lump_rows(reduction, meanings, settings, {one["id"] for one in told}),
        "filtered": settings.filtered,
        "sizes": _sizes(reduction, written),
        "times": _times(reduction.seconds, report),
    }


def _name(reduction: ReducedSystem, name: str) -> str | None:
    quantity = reduction.original.quantities.get(name)
    return one_line(quantity.name) if quantity is not None and quantity.name not in (None, "", name) else None


def _largest(reduction: ReducedSystem, report: ErrorReport | None) -> tuple[str, str]:
    """The error that is shown first, and what it is of: of an approximation the one of its ensemble."""
    certificate = reduction.certificate
    if isinstance(certificate, ErrorEstimate):
        fresh = certificate.fresh
        count = certificate.ensemble if fresh is None else fresh.initial_values
        worst = certificate.worst_error if fresh is None else fresh.worst
        return f"largest relative error, {counted(count, 'initial value')}", rounded(worst)
    return "largest relative error", "not simulated" if report is None else rounded(report.max_relative_error)


def _told_of(reduction: ReducedSystem, sentence: str | None, names: Sequence[str]) -> dict[str, Any] | None:
    """A sentence on some states, and all of them by name."""
    if sentence is None:
        return None
    return {"sentence": sentence, "states": [{"id": n, "name": _name(reduction, n)} for n in names]}


def _told(meanings: Mapping[str, Meaning], settings: ModelPageSettings) -> list[dict[str, Any]]:
    """Lumps in words; those first of which more can be said than what they are made of."""
    made = [(name, one) for name, one in meanings.items() if one.kind != "retained"]
    made.sort(key=lambda item: item[1].label is None)
    return [{"id": name, "label": one.label, "sentence": one.sentence} for name, one in made[: settings.sentences]]


# -- simulation ----------------------------------------------------------------------------------------------------


def _simulation(reduction: ReducedSystem, report: ErrorReport, settings: ModelPageSettings) -> dict[str, Any]:

    # The observables first; what else was compared follows in the table, and as pictures while there is room.
    wanted = [o.id for o in reduction.observables if o.id in report.original]
    names = [*wanted, *(n for n in report.original if n not in wanted)]
    shown = (wanted or names)[: settings.panels]
    unit = time_unit_of(reduction.original)
    return {
        "trajectories": trajectory_svgs(report, shown, unit, {n: _title(reduction, n, settings) for n in shown}),
        "error": error_svg(report, shown[: settings.lines], unit),
        "left_out": len(names) - len(shown),
        "lines_left_out": len(shown) - len(shown[: settings.lines]),
        "until": rounded(report.until),
        "unit": unit,
        "points": len(report.times),
        "reason": report.horizon_reason,
        "simulator": SIMULATOR_NAMES.get(report.simulator, report.simulator),
        "max": rounded(report.max_relative_error),
        "rows": [
            {
                "id": name,
                "values": [
                    (error.max_relative_error, rounded(error.max_relative_error)),
                    (error.final_relative_error, rounded(error.final_relative_error)),
                    (error.max_absolute_error, rounded(error.max_absolute_error)),
                ],
            }
            for name, error in ((n, report.per_observable[n]) for n in names)
        ],
        "remarks": report.remarks,
    }


def _title(reduction: ReducedSystem, name: str, settings: ModelPageSettings) -> str:
    """What is drawn, by name and id, on one line."""
    called = _name(reduction, name)
    text = name if called is None else f"{called} ({name})"
    if len(text) > settings.title:
        text = shortened(called or name, settings.title)
    return text


def rounded(value: float | None, digits: int = 3) -> str:
    """A number for a reader: two or three significant ``digits``, a power of ten where the number is far from 1."""
    if value is None or value != value:
        return "unknown"
    if value == 0:
        return "0"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:.0f}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    mantissa = mantissa.removesuffix(".0")
    return f"10{raised}" if mantissa == "1" else f"{mantissa}·10{raised}"


# -- certificate ---------------------------------------------------------------------------------------------------


_HOLDS_FOR: Final = {
    "all-parameter-values": "This holds for all values of the parameters.",
    "file-values": "This holds for the values that the file gives to some parameters.",
    "domain": "This holds on a piece of the state space.",
}


def certificate_words(certificate: Certificate) -> dict[str, Any]:
    """Kind, headline and sentences of a certificate."""
    if isinstance(certificate, ErrorEstimate):
        parameters = certificate.details.get("perturb_parameters")
        too = f", parameters by ±{100 * parameters:g} %" if parameters else ""
        runs = (
            f"The error was measured on {counted(certificate.ensemble, 'run')} up to time "
            f"{rounded(certificate.horizon)}, with initial values spread by ±{100 * certificate.spread:g} %{too} "
            f"({certificate.method})."
        )
        found = f"Worst relative error {rounded(certificate.worst_error)}, median {rounded(certificate.median_error)}."
        fresh = [] if certificate.fresh is None else [certificate.fresh.sentence()]
        return {
            "exact": False,
            "headline": "Approximate: the error is estimated, not bounded",
            "short": "estimate",
            "scope": "",
            "sentences": [runs, found, *fresh],
            "values": [],
        }
    if certificate.failure_probability == 0:
        chance = "The proof is deterministic: it does not rest on chance."
    else:
        chance = (
            f"The proof is by an identity test at random points modulo {counted(len(certificate.primes), 'prime')}: "
            f"the probability that it accepts a wrong lumping is at most {rounded(certificate.failure_probability)}."
        )
    sentences = [_as_sentence(certificate.statement), chance]
    if certificate.heuristic:
        sentences.append(_as_sentence(certificate.heuristic))
    if certificate.domain is not None:
        sentences.append(_sentence(f"It holds on a piece of the state space: {certificate.domain}"))
    values = [f"{name} = {value}" for name, value in certificate.valid_for.items()]
    if not values:  # else the page lists them
        sentences.append(certificate.scope())
    return {
        "exact": True,
        "headline": "Exact: proved",
        "short": "proved",
        "scope": _HOLDS_FOR[certificate.holds_for],
        "sentences": sentences,
        "values": values,
    }


def _as_sentence(message: str) -> str:
    """A message of a reason, which begins like the rest of a line."""
    return _sentence(message[:1].upper() + message[1:])


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


# -- lumps ---------------------------------------------------------------------------------------------------------


def _matrix(reduction: ReducedSystem, meanings: Mapping[str, Meaning]) -> dict[str, Any] | None:
    matrix = reduction.matrix
    if 0 in matrix.shape or not reduction.reducible:
        return None
    if _matches(reduction):
        rows = [meanings[lump.id].label or _name(reduction, lump.id) or lump.id for lump in reduction.lumps]
    else:
        rows = _numbers(matrix.shape)
    columns = [_name(reduction, name) or name for name in matrix.states]
    picture = matrix_svg(matrix, rows, columns)
    return {
        "svg": picture.svg,
        "note": picture.note,
        "proper": matrix.proper,
        "many": len(matrix.rows),
        "non_negative": matrix.non_negative,
    }


def _matches(reduction: ReducedSystem) -> bool:
    return len(reduction.lumps) == reduction.matrix.shape[0]


def _numbers(shape: tuple[int, int]) -> list[str]:
    return [str(i + 1) for i in range(shape[0])]


def _lump_rows(
    reduction: ReducedSystem, meanings: Mapping[str, Meaning], settings: ModelPageSettings, told: Container[str]
) -> dict[str, list[dict[str, Any]]]:
    """Lumps of several states, the largest first, and states that are kept as they are."""
    rows: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for position, lump in enumerate(reduction.lumps):
        meaning = meanings[lump.id]
        row = {"id": lump.id, "name": _name(reduction, lump.id)}
        if meaning.kind == "retained":
            kept.append(row)
            continue
        members: Mapping[str, Fraction] = lump.members
        if meaning.kind == "block":
            states = reduction.original.states
            members = {states[j]: Fraction(1) for j in sorted(reduction.map.lift.rows[position])}
        if meaning.kind == "coordinate":
            lift = reduction.map.lift.rows[position]
            place = reduction.original.state_index
            shares = {name: abs(value * lift.get(place[name], 0)) for name, value in members.items()}
            factor, terms = _measured_terms(members, shares, settings.digits)
        else:
            factor, terms = _coprime_terms(members)
        opening, closing = ("", "") if factor is None else (f"{factor} × (", ")")
        few = " ".join(terms[: settings.terms])
        folded = len(terms) > settings.terms
        rows.append(
            {
                **row,
                "label": meaning.label,
                "meaning": meaning.sentence,
                "told": lump.id in told,
                "size": len(terms),
                "short": f"{opening}{few} + …{closing}" if folded else f"{opening}{few}{closing}",
                "long": f"{opening}{' '.join(terms)}{closing}" if folded else None,
            }
        )
    rows.sort(key=lambda row: -row["size"])
    return {"lumps": rows, "kept": kept}


def _coprime_terms(members: Mapping[str, Fraction]) -> tuple[str | None, list[str]]:
    """A factor where it is not 1, and terms such as ``A``, ``+ 2·B`` whose coefficients are coprime integers."""
    if not members:
        return None, []
    factor = content(list(members.values()))
    if all(value < 0 for value in members.values()):
        factor = -factor
    if len(members) == 1 or factor == 1:
        return None, list(signed_terms(members.items(), times="·", minus="−", number=_exact))
    scaled = [(name, value / factor) for name, value in members.items()]
    return _exact(factor).replace("-", "−"), list(signed_terms(scaled, times="·", minus="−", number=_exact))


def _measured_terms(
    members: Mapping[str, Fraction], shares: Mapping[str, Fraction], digits: int
) -> tuple[str | None, list[str]]:
    """The same of coefficients that were computed: by shares, the first one with the coefficient 1."""
    ranked = sorted(members, key=lambda name: -shares[name])
    factor = members[ranked[0]]

    def shown(value: Fraction) -> str:
        return rounded(nearest_double(value), digits)

    terms = [(name, members[name] / factor) for name in ranked]
    texts = list(signed_terms(terms, times="·", minus="−", number=shown))
    return None if factor == 1 else shown(factor).replace("-", "−"), texts


def _exact(value: Fraction) -> str:
    # Rationals that came from doubles may have a hundred digits; the file holds them in full.
    return short_number(value, longest=24, digits=12, mark="…")


# -- sizes and times -----------------------------------------------------------------------------------------------


def _sizes(reduction: ReducedSystem, written: OdeSystem) -> list[tuple[str, int, int]]:
    """Counts of the original, and of the file that was written (its reactions are made of the equations)."""
    before, after = reduction.original, written
    return [
        ("states (differential equations)", before.size, reduction.system.size),
        ("assigned quantities", len(before.assigned), len(after.assigned)),
        ("reactions", len(before.reactions), len(after.reactions)),
        ("constants", len(before.constants), len(after.constants)),
        ("events", len(before.events), len(after.events)),
    ]


def _times(seconds: Mapping[str, float], report: ErrorReport | None) -> list[tuple[str, str]]:
    rows = [(f"{name}", f"{duration(value)}") for name, value in seconds.items()]
    if report is not None:
        rows.append(("simulate the original", duration(report.seconds_original)))
        rows.append(("simulate the reduced model", duration(report.seconds_reduced)))
    return rows


def duration(seconds: float | None) -> str:
    """Seconds for people, in ms, s, min or h; nothing for what was not measured."""
    if seconds is None:
        return ""
    if seconds < 0.0995:
        return f"{seconds * 1e3:.2g} ms"
    if seconds < 99.5:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


# -- Figures of the pages as inline SVG that follows the colour scheme of the page ---------------

# Text stays text (it can be searched, selected and read aloud), black and white become CSS variables, ids get a prefix
# so that several figures may stand on one page, and nothing depends on the date or on the run.


_VARIABLES: Final = {PAGE.ink: "var(--ink)", PAGE.faint: "var(--rule)"}


@dataclass(frozen=True, slots=True)
class MatrixDrawing:
    """How a lumping matrix is drawn.

    Attributes
    ----------
    labels : int
        Rows or columns up to which ids are legible in the width of a page.
    name : int
        Characters of a name beside a row or below a column.
    letter : float
        Inches of one of them.
    cells : int
        Entries, zeros included, up to which each is a rectangle: more make a page heavy.
    pixels : (int, int)
        Of the image that stands for a larger matrix.
    """

    labels: int = 60
    name: int = 28
    letter: float = 0.085
    cells: int = 6_000
    pixels: tuple[int, int] = (240, 480)


@dataclass(frozen=True, slots=True)
class PanelDrawing:
    """Inches of a panel and of the plot of errors, at 72 dots: text keeps its size in the width of a phone."""

    width: float = 4.4
    height: float = 2.7
    error: float = 5.0


_PANEL: Final = PanelDrawing()


def svg_of(figure: Figure, label: str, prefix: str) -> str:
    """``figure`` as an ``svg`` element for an HTML page.

    Parameters
    ----------
    figure : Figure
    label : str
        What the figure shows, for those who do not see it.
    prefix : str
        Put before all ids; different for each figure of a page.
    """
    import matplotlib

    settings = {"svg.fonttype": "none", "svg.hashsalt": prefix, "font.family": "sans-serif"}
    out = io.StringIO()
    with matplotlib.rc_context(settings):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].rstrip()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(xlink:href=")#([^"]+)"', rf'\1#{prefix}-\2"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    # Sizes in points would fix the figure's width; the view box alone lets it fit the page.
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{_attribute(label)}">{rest}'


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def trajectory_svgs(
    report: ErrorReport, names: Sequence[str], time_unit: str | None, titles: Mapping[str, str]
) -> list[str]:
    """A panel for each of ``names``: original and reduced. Each is a figure that a phone shows in its width."""
    made = []
    for i, name in enumerate(names):  # the caption says which line is which: a legend would lie on an oscillation
        figure = PAGE.figure(_PANEL.height, _PANEL.width)
        axes = figure.add_subplot()
        draw_trajectory(axes, report, name)
        axes.set_title(titles.get(name, name), loc="left", parse_math=False)
        PAGE.quiet(axes)
        axes.locator_params(axis="both", nbins=4)
        axes.set_xlabel(f"time ({time_unit})" if time_unit else "time")
        made.append(svg_of(figure, f"Trajectory of {name} in the original and in the reduced model", f"run{i}"))
    return made


def error_svg(report: ErrorReport, names: Sequence[str], time_unit: str | None) -> str:
    """Relative error of each of ``names`` over time, logarithmic."""
    below = 0.22 * -(-len(names) // 2) if len(names) > 1 else 0.0
    figure = PAGE.figure(2.8 + below, _PANEL.error)
    axes = figure.add_subplot()
    draw_error(axes, report, names)
    PAGE.quiet(axes)
    axes.set_xlabel(f"time ({time_unit})" if time_unit else "time")
    axes.set_ylabel("relative error")
    if len(names) > 1:
        PAGE.legend(axes, loc="upper left", bbox_to_anchor=(0.0, -0.22), ncols=2, handlelength=1.2, columnspacing=1.0)
    worst = f"{report.max_relative_error:.2g}"
    return svg_of(figure, f"Relative error over time, logarithmic axis; the largest is {worst}", "error")


@dataclass(frozen=True, slots=True)
class MatrixPicture:
    """The heat map of a lumping matrix and what has to be said about how it was drawn."""

    svg: str
    note: str


def matrix_svg(
    matrix: LumpingMatrix,
    lumps: Sequence[str],
    states: Sequence[str] | None = None,
    drawing: MatrixDrawing = MatrixDrawing(),
) -> MatrixPicture:
    """Heat map of ``matrix`` (m × n); rows called ``lumps``, columns ``states`` (by their ids if absent).

    Columns are ordered by the first lump they belong to, so that blocks show. Small matrices are drawn cell by cell
    with names; in large ones each pixel stands for a block of entries and takes the one of largest magnitude.
    """
    order = _column_order(matrix)
    columns = [shortened(text, drawing.name) for text in (states or matrix.states)]
    place = {column: i for i, column in enumerate(order)}
    entries = [(i, place[j], float(value)) for i, row in enumerate(matrix.rows) for j, value in row.items()]
    m, n = matrix.shape
    notes = ["Columns are ordered by the first lump they belong to."] if order != sorted(order) else []
    values = np.array([value for *_, value in entries])
    shade = _shades(values)
    small = m * n <= drawing.cells and m <= drawing.labels
    below = drawing.letter * max(map(len, columns), default=0) if small and n <= drawing.labels else 0.0
    figure = PAGE.figure(min(max(0.24 * m + 1.0, 1.8), 7.0) + below)
    axes = figure.add_subplot()
    if small:
        _draw_cells(axes, entries, shade)
        labelled = n <= drawing.labels
        if labelled:
            axes.set_xticks(range(n), [columns[j] for j in order], rotation=90, parse_math=False)
        else:
            axes.set_xticks([])
            notes.append("The names of the columns are left out for lack of space.")
        axes.set_yticks(range(m), [shortened(text, drawing.name) for text in lumps], parse_math=False)
    else:
        labelled = False
        grid, block = _downsample(entries, shade, (m, n), drawing.pixels)
        _draw_image(axes, grid, (m, n))
        axes.set_xticks([])
        axes.set_yticks([])
        if block != (1, 1):
            notes.append(f"Each pixel stands for {block[0]} × {block[1]} entries and shows the largest of them.")
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(m - 0.5, -0.5)
    for side in axes.spines.values():
        side.set_color(PAGE.faint)
    axes.tick_params(
        colors=PAGE.ink, color=PAGE.faint, labelsize=9 if max(m, n if labelled else 0) <= 40 else 7, length=2
    )
    axes.set_xlabel(f"{n} original states", fontsize=10, color=PAGE.ink)
    axes.set_ylabel(f"{m} reduced states", fontsize=10, color=PAGE.ink)
    notes.append(_legend_of(values))
    label = f"Lumping matrix with {m} rows (lumps) and {n} columns (original states), {len(entries)} entries not zero"
    return MatrixPicture(svg_of(figure, label, "matrix"), " ".join(notes))


def _column_order(matrix: LumpingMatrix) -> list[int]:
    first: dict[int, int] = {}
    for i, row in enumerate(matrix.rows):
        for j in row:
            first.setdefault(j, i)
    return sorted(range(len(matrix.states)), key=lambda j: (first.get(j, len(matrix.rows)), j))


def _shades(values: Array) -> Array:
    """Opacity of each entry, 0.5 to 1, by the logarithm of its magnitude."""
    if not len(values):
        return values
    size = np.log(np.abs(values))
    low, high = float(size.min()), float(size.max())
    if high - low < 1e-12:
        return np.full(len(values), 0.9)
    return np.asarray(0.5 + 0.5 * (size - low) / (high - low))


def _legend_of(values: Array) -> str:
    distinct = sorted(set(values.tolist()))
    if len(distinct) == 1:
        return f"Every filled cell is {distinct[0]:g}; empty cells are 0."
    if len(distinct) <= 4:
        listed = ", ".join(f"{value:g}" for value in distinct)
        return f"Filled cells take the values {listed}, stronger where larger in magnitude; empty cells are 0."
    signs = " Blue is positive, orange negative." if distinct and distinct[0] < 0 < distinct[-1] else ""
    span = f"from {distinct[0]:.3g} to {distinct[-1]:.3g}" if distinct else ""
    return f"Entries {span}, stronger where larger in magnitude (logarithmic); empty cells are 0.{signs}"


def _draw_cells(axes: Axes, entries: Sequence[tuple[int, int, float]], shade: Array) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    cells = [Rectangle((j - 0.46, i - 0.46), 0.92, 0.92) for i, j, _ in entries]
    colours = [
        to_rgba(BLUE if value > 0 else ORANGE, alpha)
        for (_, _, value), alpha in zip(entries, shade.tolist(), strict=True)
    ]
    axes.add_collection(PatchCollection(cells, facecolors=colours, edgecolors="none"))


def _downsample(
    entries: Sequence[tuple[int, int, float]],
    shade: Array,
    shape: tuple[int, int],
    pixels: tuple[int, int],
) -> tuple[Array, tuple[int, int]]:
    """Signed shade of the largest entry of each block, and the size of a block."""
    block = (-(-shape[0] // pixels[0]), -(-shape[1] // pixels[1]))
    grid = np.zeros((-(-shape[0] // block[0]), -(-shape[1] // block[1])))
    for (i, j, value), alpha in zip(entries, shade.tolist(), strict=True):
        at = (i // block[0], j // block[1])
        if alpha > abs(grid[at]):
            grid[at] = alpha if value > 0 else -alpha
    return grid, block


def _draw_image(axes: Axes, grid: Array, shape: tuple[int, int]) -> None:
    from matplotlib.colors import to_rgb

    image = np.zeros((*grid.shape, 4))
    image[grid > 0, :3] = to_rgb(BLUE)
    image[grid < 0, :3] = to_rgb(ORANGE)
    image[..., 3] = np.abs(grid)
    m, n = shape
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=(-0.5, n - 0.5, m - 0.5, -0.5))
