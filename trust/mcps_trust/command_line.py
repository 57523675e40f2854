"""What the three command lines have in common: one error handler, one way of output.

The only place that turns an error into text on stderr and an exit code. Nothing below the
command line prints or exits.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from mcps_trust.errors import (
    ConfigurationError,
    InternalError,
    McpsError,
    StorageError,
    UsageError,
)
from mcps_trust.interrupts import raise_interrupt
from mcps_trust.printable import printable

__all__ = ["emit", "json_option", "progress", "read_passphrase", "run"]

_SHORTEST = 8  # characters of a new passphrase
INTERRUPTED = 128 + signal.SIGINT
F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document for machines."
)


def run(command: click.Command, arguments: list[str] | None = None) -> int:
    """Run a command line to its end; gives the exit code.

    Errors go to stderr: as text, or as JSON where ``--json`` is among the arguments.
    """
    words = sys.argv[1:] if arguments is None else arguments
    raise_interrupt()
    try:
        result = command.main(args=words, prog_name=command.name, standalone_mode=False)
    except McpsError as error:
        return _report(error, as_json="--json" in words)
    except click.ClickException as error:
        return _called_wrongly(error, as_json="--json" in words)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        failure = StorageError("a file cannot be read or written", found=str(error))
        return _report(failure, as_json="--json" in words)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for users
        if "--debug" in words or os.environ.get("MCPS_DEBUG"):
            traceback.print_exc()
        return _report(InternalError(f"{type(error).__name__}: {error}"), as_json="--json" in words)
    return result if isinstance(result, int) else 0


def emit(as_json: bool, document: Mapping[str, Any], text: str) -> None:
    """Print a result: the document for machines, or the text for people."""
    if as_json:
        click.echo(_json(document, indent=2))
    else:
        click.echo(printable(text))


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Say on stderr what is going on, and whether it was done."""
    click.echo(f"… {what}", err=True)
    yield
    click.echo(f"✓ {what}", err=True)


def read_passphrase(file: Path | None, whose: str, *, new: bool = False) -> bytes:
    """A passphrase from a file's first line, or from the terminal; twice where it is new.

    Raises:
        ConfigurationError: the file cannot be read or is empty, or there is no terminal.
    """
    if file is not None:
        try:
            text = file.read_text("utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"cannot read the passphrase file {file}", found=str(error)
            ) from error
        if not text:
            raise ConfigurationError(f"the passphrase file {file} is empty")
        if new and len(text) < _SHORTEST:
            raise ConfigurationError(
                f"the passphrase in {file} is too short", expected=f"{_SHORTEST} characters"
            )
        return text.encode()
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"a passphrase is needed for {whose}, and there is no terminal",
            remedy="give --passphrase-file",
        )
    while True:
        about = f" (at least {_SHORTEST} characters)" if new else ""
        text = str(click.prompt(f"Passphrase of {whose}{about}", hide_input=True, err=True,
                                confirmation_prompt=new))  # fmt: skip
        if not new or len(text) >= _SHORTEST:
            return text.encode()
        click.echo(f"at least {_SHORTEST} characters, please", err=True)


def _called_wrongly(error: click.ClickException, *, as_json: bool) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return UsageError.exit_code
    context = getattr(error, "ctx", None)
    hint = f"see `{context.command_path} --help`" if context is not None else ""
    return _report(UsageError(error.format_message(), remedy=hint), as_json=as_json)


def _report(error: McpsError, *, as_json: bool) -> int:
    if as_json:
        click.echo(_json({"error": error.to_dict()}), err=True)
    else:
        click.echo(f"error [{error.code}]: {error}", err=True)
    return error.exit_code


def _json(document: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON that a terminal can be shown: escaped where a text is more than printable."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    if printable(text) == text:
        return text
    return json.dumps(document, indent=indent)
