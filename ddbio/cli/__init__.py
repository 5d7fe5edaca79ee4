"""The command line, one module per command. Only this package prints, handles signals or ends the process."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from ddbio.cli import demo, export, generate, importing, verify
from ddbio.cli.failures import Exit, say
from ddbio.cli.parsing import Command, Group

app = typer.Typer(
    cls=Group,
    # Plain help loads in a third of the time and can be searched with grep.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("export", cls=Command, epilog=export.EXAMPLES)(export.export)
app.command("import", cls=Command, epilog=importing.EXAMPLES, context_settings={"allow_extra_args": True})(
    importing.import_
)
app.command("generate", cls=Command, epilog=generate.EXAMPLES)(generate.generate)
app.command("verify", cls=Command, epilog=verify.EXAMPLES)(verify.verify)
app.command("demo", cls=Command, epilog=demo.EXAMPLES)(demo.demo)

# typer exports only this subclass of the error that every wrong use of the command line raises.
_WrongUse = cast("type[typer.BadParameter]", typer.BadParameter.__base__)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version  # noqa: PLC0415 - not needed for help
    from platform import python_version  # noqa: PLC0415

    from ddbio.codec import CODEC  # noqa: PLC0415

    print(f"ddbio {version('ddbio')}, {CODEC} codec, Python {python_version()}")
    raise typer.Exit


@app.callback()
def _ddbio(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the versions of ddbio and Python and the codec in use.",
        ),
    ] = False,
) -> None:
    """Move whole DynamoDB tables to JSON files and back: fast, within a capacity budget, without losing an item.

    "ddbio COMMAND --help" describes a command, with examples. "ddbio demo" demonstrates them without an AWS account.

    Exit codes: 0 success; 1 failure, no record could be written, or "verify" found a difference; 2 wrong usage, or the
    location holds another or an unfinished job; 3 some records were rejected; 4 stopped by --max-units or
    --max-duration; 130 interrupted.
    """


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def main(arguments: Sequence[str] = ()) -> int:
    """Run the command line (by default that of the process) and return the exit code."""
    if sys.stderr is None:  # closed by the caller; `print` would write to standard output instead
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - as long as the process lives
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, "SIGUSR1"):  # not on Windows; it pauses a job, and must not end one that is starting
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        return int(app(arguments or sys.argv[1:] or ["--help"], prog_name="ddbio", standalone_mode=False))
    except _WrongUse as error:
        command = error.ctx.command_path if error.ctx else "ddbio"
        say(f"error: {_sentence(error.format_message())} See: {command} --help")
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        say("Interrupted.")
        return Exit.INTERRUPTED
    finally:
        gc.freeze()  # the final garbage collections would take up to half a second
