"""``sbmlump convert``: read a model, write it back."""

from __future__ import annotations

from pathlib import Path

import click

from sbmlump.cli.child import isolation_options
from sbmlump.cli.output import print_json, say
from sbmlump.jobs import convert_file
from sbmlump.outcome import reason_json

__all__ = ["convert_command"]


@click.command("convert")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write; its suffix decides."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@isolation_options
@click.option("-q", "--quiet", is_flag=True, expose_value=False, help="No progress.")
def convert_command(model: Path, output: Path, as_json: bool) -> int:
    """Read MODEL and write it in a canonical form, by the suffix of the output."""
    done = convert_file(model, output)
    system = done.system
    if as_json:
        reasons = [reason_json(reason) for reason in done.reasons]
        print_json(
            {
                "outcome": "converted",
                "model": system.id,
                "states": system.size,
                "output": str(output),
                "reasons": reasons,
            }
        )
    else:
        for reason in done.reasons:
            say(f"{reason.message} [{reason.code}]", err=True)
        say(f"{system.id}: {system.size} states, written to {output}")
    return 0
