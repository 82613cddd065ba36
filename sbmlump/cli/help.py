"""Help in sections, with an example and a line on each method; ids of a model where the shell completes a word."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from sbmlump.errors import SbmlumpError
from sbmlump.methods.registry import METHODS, methods_with

__all__ = [
    "Commands",
    "SectionedCommand",
    "completed_constants",
    "completed_observables",
    "examples",
    "methods_in_a_line",
]

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "What to keep": ("observe", "keep_parameters", "reconstruct"),
    "How": ("method", "on_class", "seed"),
    "What is written": (
        "output",
        "force",
        "as_rate_rules",
        "groups",
        "level",
        "problem",
        "report_folder",
        "best",
        "strict",
    ),
    "Comparison by simulation": ("until", "points", "check", "simulator"),
    "Printing and limits": ("as_json", "quiet", "store", "isolate", "time_limit", "memory_limit", "help"),
}
"""Options by what a user is after; those of methods have sections of their own."""
_APPROXIMATE: Final = "Methods approximate and learned"
_OTHERS: Final = "Other methods"


class SectionedCommand(click.Command):
    """A command whose options stand in sections."""

    def __init__(self, *arguments: Any, listed: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._listed = listed or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options by section, then what else is listed."""
        sections: dict[str, list[tuple[str, str]]] = {
            title: [] for title in ("What to keep", "How", "What is written", _APPROXIMATE, _OTHERS, *_SECTIONS)
        }
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections[_section_of(parameter.name or "")].append(record)
        if self._listed:
            with formatter.section("Methods"):
                formatter.write_dl(list(self._listed.items()))
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _section_of(name: str) -> str:
    title = next((title for title, names in _SECTIONS.items() if name in names), None)
    if title is not None:
        return title
    users = methods_with(name)
    if not users:
        return "Printing and limits"
    return _APPROXIMATE if not {"approximate", "learned"}.isdisjoint(users) else _OTHERS


class Commands(click.Group):
    """A group whose commands are listed with whole sentences."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command and the first paragraph of its help."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                first = inspect.cleandoc(command.help or "").partition("\n\n")[0]
                rows.append((name, " ".join(first.split())))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def methods_in_a_line() -> dict[str, str]:
    """Each method and the first line of what it says of itself."""
    return {name: inspect.cleandoc(method.__doc__ or "").partition("\n")[0] for name, method in METHODS.items()}


# -- completion ------------------------------------------------------------------------------------------

_LAST_ID: Final = re.compile(r"[A-Za-z_0-9]*\Z")


def completed_observables(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids that can be observed, with their names; within a formula the last id is completed."""
    system = _model_of(ctx)
    if system is None:
        return []
    from sbmlump.model.reduced import observable_ids

    names = {one.id: one.name for one in (*system.quantities.values(),)} | {r.id: r.name for r in system.reactions}
    return _items(observable_ids(system), names, incomplete)


def completed_constants(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of constants, also after a comma."""
    system = _model_of(ctx)
    if system is None:
        return []
    names = {one.id: one.name for one in system.quantities.values()}
    return _items([one.id for one in system.constants], names, incomplete)


def _items(ids: Iterable[str], names: Mapping[str, str | None], incomplete: str) -> list[CompletionItem]:
    match = _LAST_ID.search(incomplete)
    word = match[0] if match is not None else ""
    before = incomplete.removesuffix(word) if word else incomplete
    return [CompletionItem(before + id, help=names.get(id)) for id in ids if id.startswith(word)]


def _model_of(ctx: click.Context) -> Any:
    # where the option still has no value, what stands before it has not been told apart
    given = [ctx.params.get("model"), *ctx.args]
    model = next((one for one in given if isinstance(one, str | Path) and Path(one).is_file()), None)
    if model is None:
        return None  # a shell does not wait for the network
    from sbmlump.formats.load import load

    try:
        return load(model)
    except SbmlumpError:  # the command itself says why
        return None


def examples(lines: Sequence[str]) -> str:
    """An epilog that stands as it is written."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
