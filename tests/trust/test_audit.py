"""The audit chains: whole, or it shows where they are not."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcps_trust.audit.record import KeyedDigest, line_digest, shape
from mcps_trust.audit.sink import AuditDirectory
from mcps_trust.audit.verify import verify_audit
from mcps_trust.errors import McpsError
from mcps_trust.model.canonical import canonical

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def record(directory: AuditDirectory, name: str, *, close: bool = True) -> Path:
    """A session with four records and an end."""
    log = directory.open_session(name, {"server": "x"})
    log.write("session-start", NOW, {"alias": "echo"})
    for number in range(3):
        log.write("call", NOW, {"tool": f"tool-{number}"})
    if close:
        log.close(NOW, {"reason": "host"})
    return directory.sessions / f"{name}.jsonl"


@pytest.fixture
def directory(tmp_path: Path) -> AuditDirectory:
    made = AuditDirectory(tmp_path / "audit")
    for name in ("one", "two", "three"):
        record(made, name)
    return made


def states(directory: AuditDirectory) -> dict[str, str]:
    return {state.session: state.state for state in verify_audit(directory)}


def test_untouched_chains_are_whole(directory: AuditDirectory) -> None:
    assert states(directory) == {"one": "whole", "two": "whole", "three": "whole"}
    record(directory, "running", close=False)
    assert states(directory)["running"] == "unclosed"


def drop_last(data: bytes) -> bytes:
    return b"".join(data.splitlines(keepends=True)[:-1])


def drop_second(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([lines[0], *lines[2:]])


def swap(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([lines[0], lines[2], lines[1], *lines[3:]])


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"tool-1", b"tool-9"),
        lambda data: data.replace(b'"alias":"echo"', b'"alias":"evil"'),
        lambda data: data.replace(b'"reason":"host"', b'"reason":"none"'),
        lambda data: data + data.splitlines(keepends=True)[-1],
        lambda data: data[:-5],
        lambda _data: b"",
        drop_last,
        drop_second,
        swap,
    ],
)
def test_any_change_to_a_session_shows(
    directory: AuditDirectory, change: Callable[[bytes], bytes]
) -> None:
    path = directory.sessions / "two.jsonl"
    path.write_bytes(change(path.read_bytes()))
    assert states(directory) == {"one": "whole", "two": "broken", "three": "whole"}


def test_a_missing_file_and_a_stranger_show(directory: AuditDirectory) -> None:
    (directory.sessions / "one.jsonl").unlink()
    (directory.sessions / "two.jsonl").rename(directory.sessions / "renamed.jsonl")
    found = states(directory)
    assert (found["one"], found["two"], found["renamed"]) == ("missing", "missing", "unknown")


def test_a_changed_host_chain_is_an_error(directory: AuditDirectory) -> None:
    data = directory.host.read_bytes()
    for changed in (data.replace(b'"session":"one"', b'"session":"six"', 1), drop_second(data)):
        directory.host.write_bytes(changed)
        with pytest.raises(McpsError) as caught:
            verify_audit(directory)
        assert caught.value.code == "audit-broken"
    directory.host.write_bytes(data)
    assert set(states(directory).values()) == {"whole"}


def test_the_host_chain_goes_on_after_many_sessions(directory: AuditDirectory) -> None:
    for number in range(300):
        record(directory, f"s{number}")
    assert set(states(directory).values()) == {"whole"}
    assert json.loads(directory.host.read_bytes().splitlines()[-1])["seq"] == 2 * 303 - 1


def test_a_session_is_closed_after_an_interrupt_between_a_record_and_its_memory(
    directory: AuditDirectory,
) -> None:
    log = directory.open_session("hit", {"server": "x"})
    log.write("session-start", NOW, {})
    log.write("call", NOW, {"tool": "t" * 200_000})
    log._seq, log._prev = 1, log._directory.key().hex()  # type: ignore[assignment]  # as it was before the record
    log.close(NOW, {"reason": "interrupted"})
    assert states(directory)["hit"] == "whole"


def test_a_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    blocked = tmp_path / "audit"
    blocked.write_text("a file stands where the folder should be")
    with pytest.raises(McpsError) as caught:
        AuditDirectory(blocked).open_session("x", {})
    assert caught.value.code == "audit-not-writable"


def test_parameters_are_recorded_by_shape_and_keyed_digest() -> None:
    value = {"path": "/secret", "n": 3, "list": [1, 2], "deep": {"a": {"b": {"c": 1}}}}
    assert shape(value) == {"path": "text of 7", "n": "number", "list": "array of 2",
                            "deep": {"a": {"b": "object"}}}  # fmt: skip
    keyed = KeyedDigest(b"k")
    assert keyed.of(canonical(value)) == keyed.of(canonical(dict(reversed(value.items()))))
    assert keyed.of(canonical(value)) != KeyedDigest(b"l").of(canonical(value))
    assert keyed.of(b"{}") == hmac.digest(b"k", b"{}", "sha256").hex()


@pytest.mark.parametrize(
    "body",
    [{}, {"first": 7}, {"first": "a" * 64, "session": 7}, {"first": "a" * 64, "event": None}],
)
def test_a_host_chain_that_holds_together_and_says_nothing_is_broken(
    directory: AuditDirectory, body: dict[str, object]
) -> None:
    lines = directory.host.read_bytes().splitlines(keepends=True)
    last = json.loads(lines[-1])
    strange = {"schema": 1, "seq": last["seq"] + 1, "prev": line_digest(lines[-1]),
               "session": "one", **body}  # fmt: skip
    directory.host.write_bytes(b"".join(lines) + json.dumps(strange).encode() + b"\n")
    with pytest.raises(McpsError) as caught:
        verify_audit(directory)
    assert caught.value.code == "audit-broken"


def test_a_session_that_the_host_closed_and_nobody_has_is_missing(
    directory: AuditDirectory,
) -> None:
    directory.enter("host-session-close", NOW, "ghost", {"last": "a" * 64, "records": 4})
    assert states(directory)["ghost"] == "missing"
    assert states(directory)["one"] == "whole"


@pytest.mark.parametrize(
    "line",
    [b"not json\n", b"[]\n", b'{"schema": 2}\n', b'{"schema": 1, "seq": 0}\n', b"{}"],
    ids=["no json", "no object", "another format", "no link", "cut off"],
)
def test_a_line_that_is_no_record_breaks_its_chain(directory: AuditDirectory, line: bytes) -> None:
    for place in (directory.sessions / "one.jsonl", directory.host):
        genuine = place.read_bytes()
        place.write_bytes(line)
        if place == directory.host:
            with pytest.raises(McpsError) as caught:
                verify_audit(directory)
            assert caught.value.code == "audit-broken"
        else:
            assert states(directory)["one"] == "broken"
        place.write_bytes(genuine)
    assert set(states(directory).values()) == {"whole"}


def test_a_session_that_begins_otherwise_than_the_host_says_is_broken(
    directory: AuditDirectory, tmp_path: Path
) -> None:
    other = AuditDirectory(tmp_path / "other")
    log = other.open_session("one", {"server": "x"})
    log.write("session-start", NOW, {"alias": "another"})
    log.close(NOW, {"reason": "host"})
    (directory.sessions / "one.jsonl").write_bytes((other.sessions / "one.jsonl").read_bytes())
    assert states(directory)["one"] == "broken"
    assert states(directory)["two"] == "whole"
    (directory.sessions / "two.jsonl").unlink()
    (directory.sessions / "two.jsonl").mkdir()
    assert states(directory)["two"] == "broken"


def test_shapes_say_nothing_of_the_content() -> None:
    deep = {"a": {"b": {"c": {"d": "secret"}}}, "n": None, "t": True, "l": [1, 2], "s": "secret"}
    text = json.dumps(shape(deep))
    assert "secret" not in text
    assert shape(deep) == {"a": {"b": {"c": "object"}}, "n": "null", "t": "boolean",
                           "l": "array of 2", "s": "text of 6"}  # fmt: skip
    assert shape(3.5) == "number"


def test_what_cannot_be_written_is_an_error_of_its_own(
    directory: AuditDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def code(do: Callable[[], object]) -> str:
        with pytest.raises(McpsError) as caught:
            do()
        return caught.value.code

    directory.key()
    (directory.path / "key").write_bytes(b"short")
    assert code(directory.key) == "audit-not-writable"
    assert code(lambda: directory.open_session("one", {})) == "audit-not-writable"
    log = directory.open_session("four", {})
    log.write("session-start", NOW, {})
    before = (directory.sessions / "four.jsonl").read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    assert code(lambda: log.write("call", NOW, {})) == "audit-not-writable"
    host = directory.host.read_bytes()
    assert code(lambda: directory.enter("host-session-open", NOW, "x", {})) == "audit-not-writable"
    monkeypatch.undo()
    assert (directory.sessions / "four.jsonl").read_bytes() == before, "nothing of it stays"
    assert directory.host.read_bytes() == host
    log.write("call", NOW, {})
    log.close(NOW, {})
    log.close(NOW, {})
    assert states(directory)["four"] == "whole"
    directory.host.write_bytes(b"not a record\n")
    assert code(lambda: directory.enter("host-session-open", NOW, "x", {})) == "audit-not-writable"
    five = directory.open_session("five", {})
    (directory.sessions / "five.jsonl").write_bytes(b"{}\n")
    assert code(lambda: five.close(NOW, {})) == "audit-not-writable"
    empty = AuditDirectory(directory.path / "empty")
    (directory.path / "empty").mkdir()
    empty.host.write_bytes(b"")
    empty.enter("host-session-open", NOW, "x", {"first": "a"})
    assert json.loads(empty.host.read_bytes())["seq"] == 0
    assert verify_audit(AuditDirectory(directory.path / "nothing")) == ()
