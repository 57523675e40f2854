"""What every command does with its output and with what goes wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path

import click
import pytest

from commands import said, tell
from mcps_trust.command_line import emit, json_option, progress, read_passphrase, run
from mcps_trust.errors import ConfigurationError, McpsError, NotPermittedError
from mcps_trust.printable import printable

REPAINTS = "harmless\x1b[2K\x1b[1Aevil \u202etxt.exe\x07"


@click.command("sample")
@click.argument("what")
@json_option
def sample(what: str, as_json: bool) -> int | None:
    match what:
        case "refuse":
            raise NotPermittedError(f"refused {REPAINTS}", expected="this", found="that")
        case "file":
            Path("/nothing/here").read_bytes()
        case "bug":
            raise LookupError("a bug")
        case "number":
            return 3
        case "exit":
            click.get_current_context().exit(5)
        case "pipe":
            raise BrokenPipeError
        case "show":
            with progress("working"):
                emit(as_json, {"text": REPAINTS}, f"line 1\n{REPAINTS}")
    return None


def test_text_from_strangers_cannot_repaint_the_terminal() -> None:
    for text in (said(sample, "show"), said(sample, "refuse", code=77)):
        assert "\x1b" not in text and "\u202e" not in text and "\x07" not in text
        assert r"\x1b[2K" in text and r"\u202e" in text
    assert "line 1\n" in said(sample, "show")
    assert printable("größer ∩ 2 µs → ✓\n") == "größer ∩ 2 µs → ✓\n"
    assert tell(sample, "show") == {"text": REPAINTS}


@pytest.mark.parametrize(
    ("word", "code", "exit_code"),
    [("refuse", "not-permitted", 77), ("file", "storage", 73), ("bug", "internal", 70)],
)
def test_whatever_goes_wrong_has_a_code_and_no_traceback(
    word: str, code: str, exit_code: int
) -> None:
    assert tell(sample, word, code=exit_code)["code"] == code
    assert f"error [{code}]: " in said(sample, word, code=exit_code)


def test_a_command_that_is_called_wrongly_says_how_it_is_called() -> None:
    error = tell(sample, "show", "--nothing", code=64)
    assert error["code"] == "usage" and "sample --help" in error["remedy"]
    assert said(sample, "number", code=3) == ""
    assert "Usage:" in said(sample, "--help")
    group = click.Group("sample", commands=[sample])
    assert "Usage:" in said(group, code=64)


def test_a_passphrase_comes_from_a_file_or_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "passphrase"
    for data, expected in ((b"secret\nrest\n", b"secret"), (b"", None), (b"\xff\n", None)):
        place.write_bytes(data)
        if expected is not None:
            assert read_passphrase(place, "a key") == expected
            continue
        with pytest.raises(ConfigurationError):
            read_passphrase(place, "a key")
    place.write_bytes(b"short\n")
    assert read_passphrase(place, "a key") == b"short", "what has it keeps it"
    with pytest.raises(ConfigurationError, match="too short"):
        read_passphrase(place, "a key", new=True)
    read, write = os.pipe()
    with os.fdopen(read) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        with pytest.raises(McpsError) as caught:
            read_passphrase(None, "a key")
    os.close(write)
    assert "terminal" in caught.value.what


def test_a_command_may_end_itself_and_its_reader_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(sample, "exit", code=5)
    with (tmp_path / "out").open("w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        assert run(sample, ["pipe"]) == 128 + signal.SIGPIPE
        nobody.write("goes nowhere")
    monkeypatch.undo()
    assert (tmp_path / "out").read_bytes() == b""


def test_a_bug_is_shown_to_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCPS_DEBUG", "1")
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        assert run(sample, ["bug"]) == 70
    assert "Traceback" in err.getvalue() and "[internal]" in err.getvalue()


def test_a_passphrase_is_asked_for_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked: list[tuple[str, bool]] = []
    typed = iter(["typed", "short", "long enough"])

    def prompt(text: str, *, hide_input: bool, err: bool, confirmation_prompt: bool) -> str:
        assert hide_input and err
        asked.append((text, confirmation_prompt))
        return next(typed)

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(click, "prompt", prompt)
    assert read_passphrase(None, "alice") == b"typed"
    assert read_passphrase(None, "bob", new=True) == b"long enough", "typed twice, and not short"
    bobs = "Passphrase of bob (at least 8 characters)", True
    assert asked == [("Passphrase of alice", False), bobs, bobs]


def test_json_for_machines_does_not_repaint_the_terminal_either() -> None:
    text = said(sample, "show", "--json")
    assert "\u202e" not in text and "\x1b" not in text
    assert json.loads(text) == {"text": REPAINTS}
    surrogate = NotPermittedError("a name \udcff", found="\udcfe")
    assert surrogate.to_dict()["what"].encode()  # type: ignore[attr-defined]  # a text
    assert str(surrogate).encode()
