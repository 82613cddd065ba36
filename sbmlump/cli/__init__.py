"""The command line: ``sbmlump COMMAND``. Results on standard output, everything else on standard error."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from sbmlump._version import __version__
from sbmlump.cli.output import EXIT_OUTPUT, Failure, lost_output, open_streams, print_failure, print_json, say
from sbmlump.errors import Reason, SbmlumpError, did_you_mean, near_matches

__all__ = ["main"]

# Where each command is, and the first sentence of its help, for the list of all of them: a test holds them together.
_COMMANDS = {
    "demo": (
        "sbmlump.cli.reduce:demo_command",
        "Reduce a bundled model, check it, and write the reduced SBML and an HTML page.",
    ),
    "inspect": (
        "sbmlump.cli.convert:inspect_command",
        "Say what is in MODEL, what can be observed and at which cost, and what stops a reduction.",
    ),
    "reduce": (
        "sbmlump.cli.reduce:reduce_command",
        "Reduce MODEL to the smallest model that keeps what is observed, and write it as SBML.",
    ),
    "convert": (
        "sbmlump.cli.convert:convert_command",
        "Read MODEL and write it in a canonical form, by the suffix of the output.",
    ),
    "check": (
        "sbmlump.cli.check:check_command",
        "Simulate ORIGINAL and REDUCED on one grid and report the errors of what they share.",
    ),
    "verify": (
        "sbmlump.cli.check:verify_command",
        "Prove or refute, without simulation, that REDUCED is an exact lumping of ORIGINAL.",
    ),
    "curve": (
        "sbmlump.cli.curve:curve_command",
        "Say how the error of the best reduction of MODEL falls with its size.",
    ),
    "compare-methods": (
        "sbmlump.cli.curve:compare_methods_command",
        "Run the reduction methods on MODEL side by side: size, error on the same runs, time, what is preserved.",
    ),
    "crawl": (
        "sbmlump.cli.crawl:crawl_command",
        "Bring published models to the disk: whole, once, verified, and as a polite guest.",
    ),
    "survey": (
        "sbmlump.cli.survey:survey_command",
        "Survey the models of STORE, a store made by 'sbmlump crawl' or a folder of SBML files.",
    ),
    "survey-report": (
        "sbmlump.cli.survey:survey_report_command",
        "Write the page of the survey in DIR: index.html and what belongs to it.",
    ),
}
_NEW_OBJECTS: Final = 250_000
"""So many more containers than were given back before the garbage collector looks for cycles, not Python's 700:
expressions and imports make many that stay, and a command does not live long."""
_IN_CHILD = ("--isolate", "--time-limit", "--memory-limit")


class _Commands(click.Group):
    """Imports a command's module when it is asked for, so that ``--help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from importlib import import_module

        home = _COMMANDS.get(cmd_name)
        if home is None:
            return None
        module, name = home[0].split(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            hint = did_you_mean(near_matches(name, _COMMANDS, 2), "'sbmlump --help' lists the commands")
            ctx.fail(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sbmlump")
def cli() -> None:
    """Make a published SBML model smaller and know how far the two differ.

    Start with 'sbmlump demo', or with 'sbmlump inspect MODEL' to see what can be observed.
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with the contract's exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    if not open_streams():
        say("standard output is closed; send the results to a file or to /dev/null", err=True)
        sys.exit(EXIT_OUTPUT)
    code = run(arguments)
    # 1 as before, and nothing is said, where whoever read our output has left; what was lost otherwise is told
    lost = lost_output()
    sys.exit(code if lost is None or code == EXIT_OUTPUT else _cannot_print(lost))


def run(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    as_json = "--json" in arguments
    try:
        try:
            if any(argument.startswith(_IN_CHILD) for argument in arguments):
                from sbmlump.cli.options import requested, run_in_child

                request = requested(arguments)
                if request is not None:
                    return run_in_child(request, lambda reason, code: _not_finished(reason, code, as_json))
            code = cli.main(args=arguments, prog_name="sbmlump", standalone_mode=False)
        except Exception as error:  # noqa: BLE001  the last line of defence: told as an internal error, never hidden
            return _failed(error, as_json, arguments)
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        say("interrupted", err=True)
        return 130
    except OSError as error:
        # from printing what went wrong: files that are read and written tell in errors of this package
        return _cannot_print(error)


def _failed(error: Exception, as_json: bool, arguments: Sequence[str]) -> int:
    """Say why a command did not end as it should; the exit code."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.exceptions.Abort():
            say("interrupted", err=True)
            return 130
        case click.ClickException():
            return _misused(error, as_json, arguments)
        case SbmlumpError():
            return print_failure(Failure.of(error), as_json=as_json)
        case MemoryError():
            reason = Reason("out-of-memory", "the memory is exhausted; a larger machine or a smaller model would do")
            return print_failure(Failure("out-of-budget", (reason,), 4), as_json=as_json)
        case OSError() if (lost := lost_output()) is not None:
            return _cannot_print(lost)
    return _internal_error(error, as_json)


def _misused(error: click.ClickException, as_json: bool, arguments: Sequence[str]) -> int:
    """Wrong options or arguments."""
    hint = _hint(error.format_message(), arguments)
    if as_json:
        return print_failure(Failure("failed", (Reason("usage", f"{error.format_message()}{hint}"),)), as_json=True)
    text = io.StringIO()
    error.show(text)
    say(f"{text.getvalue().rstrip()}{hint}", err=True)
    return 2


def _hint(message: str, arguments: Sequence[str]) -> str:
    """What was probably meant by words that a command does not take."""
    if message.startswith(("No such option '--model'", "No such option '--file'", "No such option '--input'")):
        return " The model stands without an option: sbmlump reduce model.xml --observe A"
    if "unexpected extra argument" not in message:
        return ""
    for place, word in enumerate(arguments):
        if word.startswith("-") and not word.startswith("--") and len(word) > 2:
            return f": write -{word} with two hyphens"
        if word == "--observe" and place + 1 < len(arguments) and arguments[place + 1].startswith("-"):
            return ": --observe needs a value, such as --observe A"
    extra = message.partition("(")[2].rpartition(")")[0]
    place = arguments.index(extra) if extra in arguments else 0
    if place and Path(extra).is_file() and Path(arguments[place - 1]).is_file():
        return ": one model at a time; 'sbmlump survey FOLDER' takes all models of a folder"
    values = next((word for word in arguments if word in ("--method", "--keep-parameters", "--fast")), None)
    if values is not None:
        return f": several values are joined by commas, such as {values} a,b; what has blanks in it stands in quotes"
    return ': what has blanks in it stands in quotes, such as --observe "A + B"'


def _cannot_print(error: OSError) -> int:
    """Standard output cannot be written."""
    if isinstance(error, BrokenPipeError):
        return 1
    say(f"standard output cannot be written ({error.strerror}); send it elsewhere", err=True)
    return EXIT_OUTPUT


def _not_finished(reason: Reason, code: int, as_json: bool) -> int:
    """A command in a child process that met a limit or crashed."""
    outcome = "out-of-budget" if code == 4 else "failed"
    return print_failure(Failure(outcome, (reason,), code), as_json=as_json)


def _internal_error(error: Exception, as_json: bool) -> int:
    import os
    import traceback
    from pathlib import Path

    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    message = (
        f"an internal error of sbmlump ({type(error).__name__} at {place}: {error}); please report it with the model"
    )
    if os.environ.get("SBMLUMP_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    if as_json:
        print_json({"outcome": "failed", "reasons": [{"code": "fault", "element": None, "message": message}]})
    say(message, err=True)
    return 70
