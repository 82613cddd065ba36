"""JSON schemas (draft 2020-12) of what the commands print with ``--json``.

>>> from sbmlump.schemas import schema_of
>>> sorted(schema_of("verify")["$defs"]["verify"]["required"])
['certificate', 'outcome', 'reasons']

They say what is promised: keys may be added in later versions, except where ``additionalProperties`` is false.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from sbmlump.errors import Reason, UsageError

__all__ = ["commands", "schema_of"]


def _outputs() -> dict[str, Any]:
    text = resources.files("sbmlump").joinpath("schemas", "outputs.json").read_text(encoding="utf-8")
    outputs: dict[str, Any] = json.loads(text)
    return outputs


def commands() -> tuple[str, ...]:
    """What has a schema: the commands, and ``failure``, which every command prints when it does not do its job."""
    return tuple(each["$ref"].rpartition("/")[2] for each in _outputs()["anyOf"])


def schema_of(command: str) -> dict[str, Any]:
    """The schema of what a command prints when it does its job.

    Parameters
    ----------
    command : str
        One of :func:`commands`; ``survey`` stands for ``survey-report``, ``crawl`` for all its commands.

    Raises
    ------
    UsageError
        Code ``unknown-command`` if there is no such schema.
    """
    if command not in commands():
        raise UsageError(
            Reason("unknown-command", f"there is no schema of {command!r}; known: {', '.join(commands())}")
        )
    outputs = _outputs()
    return {"$schema": outputs["$schema"], "$ref": f"#/$defs/{command}", "$defs": outputs["$defs"]}
