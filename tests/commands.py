"""Run a command line in this process, as a script would that reads ``--json``."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from mcps_trust.command_line import run

__all__ = ["said", "tell"]


def tell(command: click.Command, *words: str | Path, code: int = 0) -> dict[str, Any]:
    """Run with ``--json``; gives the document, or the error where `code` is not 0."""
    out, err = _run(command, [*map(str, words), "--json"], code)
    document: dict[str, Any] = json.loads(out if code == 0 else err.strip().splitlines()[-1])
    return document if code == 0 else document["error"]


def said(
    command: click.Command, *words: str | Path, code: int = 0, answer: str = "", stream: str = ""
) -> str:
    """Run as a person would who types `answer`; gives what was printed, or the error."""
    out, err = _run(command, list(map(str, words)), code, answer)
    return out if (stream or ("err" if code else "out")) == "out" else err


def _run(command: click.Command, words: list[str], code: int, answer: str = "") -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    hook, stdin = sys.unraisablehook, sys.stdin
    sys.stdin = io.StringIO(answer)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = run(command, words)
    finally:
        sys.unraisablehook, sys.stdin = hook, stdin
    assert "Traceback" not in err.getvalue(), err.getvalue()
    assert found == code, f"{' '.join(words)}: {found}\n{out.getvalue()}{err.getvalue()}"
    return out.getvalue(), err.getvalue()
