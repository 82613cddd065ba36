"""The page of one reduction: what went in, what came out, how far they differ and why one may believe it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbmlump._version import __version__
from sbmlump.errors import as_shown
from sbmlump.files import make_folder, write_atomically
from sbmlump.model.reduced import Certificate, ErrorEstimate, Lump, ReducedSystem
from sbmlump.model.text import signed_terms
from sbmlump.simulators.compare import ErrorReport

if TYPE_CHECKING:
    import jinja2

__all__ = ["ModelPageSettings", "environment", "write_model_page"]


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
    """

    panels: int = 12
    lines: int = 8
    terms: int = 8


def write_model_page(
    folder: str | Path,
    reduction: ReducedSystem,
    report: ErrorReport | None,
    *,
    original_file: str | Path | None = None,
    reduced_file: str | Path | None = None,
    command: Sequence[str] = (),
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
    settings : ModelPageSettings

    Raises
    ------
    OutputError
        The folder or the file cannot be written.
    """
    target = make_folder(folder)
    page = target / "index.html"
    where = {"original": _shown(original_file), "reduced": _shown(reduced_file)}
    content = {**_content(reduction, report, settings), "files": where, "command": shlex.join(command)}
    text = environment().get_template("model_page.html").render(**content)
    write_atomically(page, as_shown(text).encode())
    return page


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


def _content(reduction: ReducedSystem, report: ErrorReport | None, settings: ModelPageSettings) -> dict[str, Any]:
    original = reduction.original
    return {
        "version": __version__,
        "model": {"id": original.id, "name": original.name, "sha256": original.origin.sha256},
        "before": original.size,
        "after": reduction.system.size,
        "reducible": reduction.reducible,
        "method": reduction.method,
        "observables": [{"id": o.id, "text": o.text, "name": _name(reduction, o.id)} for o in reduction.observables],
        "certificate": certificate_words(reduction.certificate),
        "remarks": reduction.remarks,
        "report": None if report is None else _simulation(reduction, report, settings),
        "matrix": _matrix(reduction),
        "lumps": _lump_rows(reduction, settings.terms),
        "sizes": _sizes(reduction),
        "times": _times(reduction.seconds, report),
    }


def _name(reduction: ReducedSystem, name: str) -> str | None:
    quantity = reduction.original.quantities.get(name)
    return quantity.name if quantity is not None and quantity.name not in (None, "", name) else None


# -- simulation ----------------------------------------------------------------------------------------------------


def _simulation(reduction: ReducedSystem, report: ErrorReport, settings: ModelPageSettings) -> dict[str, Any]:
    from sbmlump.report.figures import error_svg, trajectories_svg

    # The observables first; what else was compared follows in the table, and as pictures while there is room.
    wanted = [o.id for o in reduction.observables if o.id in report.original]
    names = [*wanted, *(n for n in report.original if n not in wanted)]
    shown = (wanted or names)[: settings.panels]
    unit = reduction.original.origin.model_units.get("time")
    unit = None if unit == "time" else unit  # the built-in id says nothing of seconds or hours
    return {
        "trajectories": trajectories_svg(report, shown, unit),
        "error": error_svg(report, shown[: settings.lines], unit),
        "left_out": len(names) - len(shown),
        "lines_left_out": len(shown) - len(shown[: settings.lines]),
        "until": number(report.until),
        "unit": unit,
        "points": len(report.times),
        "reason": report.horizon_reason,
        "simulator": {"roadrunner": "libRoadRunner"}.get(report.simulator, report.simulator),
        "max": number(report.max_relative_error),
        "rows": [
            {
                "id": name,
                "values": [
                    (error.max_relative_error, number(error.max_relative_error)),
                    (error.final_relative_error, number(error.final_relative_error)),
                    (error.max_absolute_error, number(error.max_absolute_error)),
                ],
            }
            for name, error in ((n, report.per_observable[n]) for n in names)
        ],
        "remarks": report.remarks,
    }


def number(value: float | None) -> str:
    """A number for a reader: two or three significant digits, a power of ten where the number is far from 1."""
    if value is None or value != value:
        return "unknown"
    if value == 0:
        return "0"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    digits = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    mantissa = mantissa.removesuffix(".0")
    return f"10{digits}" if mantissa == "1" else f"{mantissa}·10{digits}"


# -- certificate ---------------------------------------------------------------------------------------------------


def certificate_words(certificate: Certificate) -> dict[str, Any]:
    """Kind, headline and sentences of a certificate."""
    if isinstance(certificate, ErrorEstimate):
        runs = (
            f"The error was measured on {_count(certificate.ensemble, 'run')} up to time "
            f"{number(certificate.horizon)}, "
            f"with initial values and constants spread by {number(certificate.spread)} ({certificate.method})."
        )
        found = f"Worst relative error {number(certificate.worst_error)}, median {number(certificate.median_error)}."
        return {
            "exact": False,
            "headline": "Approximate: the error is estimated, not bounded",
            "short": "estimate",
            "sentences": [runs, found],
            "values": [],
        }
    if certificate.failure_probability == 0:
        chance = "The proof is deterministic: it does not rest on chance."
    else:
        chance = (
            f"The proof is by an identity test at random points modulo {_count(len(certificate.primes), 'prime')}: "
            f"the probability that it accepts a wrong lumping is at most {number(certificate.failure_probability)}."
        )
    sentences = [_sentence(certificate.statement), chance]
    if certificate.heuristic:
        sentences.append(_sentence(certificate.heuristic))
    values = [f"{name} = {value}" for name, value in certificate.valid_for.items()]
    if not values:  # else the page lists them
        sentences.append(certificate.scope())
    return {"exact": True, "headline": "Exact: proved", "short": "proved", "sentences": sentences, "values": values}


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


# -- lumps ---------------------------------------------------------------------------------------------------------


def _matrix(reduction: ReducedSystem) -> dict[str, Any] | None:
    from sbmlump.report.figures import matrix_svg

    matrix = reduction.matrix
    if 0 in matrix.shape:
        return None
    picture = matrix_svg(
        matrix, [lump.id for lump in reduction.lumps] if _matches(reduction) else _numbers(matrix.shape)
    )
    return {
        "svg": picture.svg,
        "note": picture.note,
        "proper": matrix.proper,
        "non_negative": matrix.non_negative,
    }


def _matches(reduction: ReducedSystem) -> bool:
    return len(reduction.lumps) == reduction.matrix.shape[0]


def _numbers(shape: tuple[int, int]) -> list[str]:
    return [str(i + 1) for i in range(shape[0])]


def _lump_rows(reduction: ReducedSystem, most: int) -> list[dict[str, Any]]:
    rows = []
    for lump in reduction.lumps:
        terms = list(_terms(lump))
        rows.append(
            {
                "id": lump.id,
                "name": _name(reduction, lump.id),
                "size": len(terms),
                "single": lump.is_single,
                "short": " ".join(terms[:most]),
                "long": " ".join(terms) if len(terms) > most else None,
            }
        )
    return rows


def _terms(lump: Lump) -> Iterable[str]:
    """Signed terms such as ``A``, ``+ 2·B``, ``− 1/2·C``."""
    return signed_terms(lump.members.items(), times="·", minus="−", number=_exact)


def _exact(value: Fraction) -> str:
    text = str(value)
    # Rationals that came from doubles may have a hundred digits; the file holds them in full.
    return text if len(text) <= 24 else f"{float(value):.12g}…"


# -- sizes and times -----------------------------------------------------------------------------------------------


def _sizes(reduction: ReducedSystem) -> list[tuple[str, int, int]]:
    before, after = reduction.original, reduction.system
    return [
        ("states (differential equations)", before.size, after.size),
        ("assigned quantities", len(before.assigned), len(after.assigned)),
        ("reactions", len(before.reactions), len(after.reactions)),
        ("constants", len(before.constants), len(after.constants)),
        ("events", len(before.events), len(after.events)),
    ]


def _times(seconds: Mapping[str, float], report: ErrorReport | None) -> list[tuple[str, str]]:
    rows = [(f"{name}", f"{_seconds(value)}") for name, value in seconds.items()]
    if report is not None:
        rows.append(("simulate the original", _seconds(report.seconds_original)))
        rows.append(("simulate the reduced model", _seconds(report.seconds_reduced)))
    return rows


def _seconds(value: float) -> str:
    return f"{value * 1e3:.2g} ms" if value < 0.1 else f"{value:.2g} s" if value < 100 else f"{value:.0f} s"
