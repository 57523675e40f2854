"""The relay between two sides that are slow, loud, or gone."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from mcps_launcher.guard.actions import Audit
from mcps_launcher.guard.decide import MAX_REFUSED, Guard
from mcps_launcher.guard.pins import Pins
from mcps_launcher.guard.relay import Relay, RelayEnd
from mcps_trust.model.tools import ToolSurface


@dataclass
class Wires:
    """A relay in a thread of its own, and the far ends of its streams."""

    reason_to_end: str | None = None
    log: bytes = b""
    records: list[str] = field(default_factory=list)
    ended: list[RelayEnd] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    audit: Callable[[Audit], None] | None = None

    def __post_init__(self) -> None:
        host_in, self.to_host_in = os.pipe()
        self.from_host_out, host_out = os.pipe()
        self.from_server_in, server_in = os.pipe()
        server_out, self.to_server_out = os.pipe()
        server_err, self.to_server_err = os.pipe()
        self._near = [host_in, host_out, server_out, server_err]
        guard = Guard(
            pins=Pins.of(ToolSurface(protocol_versions=("2025-11-25",)), {}, ()), limit=1 << 25
        )
        self.relay = Relay(
            host_in=host_in, host_out=host_out, server_in=server_in, server_out=server_out,
            server_err=server_err, guard=guard, audit=self._audit,
            log=self._log, tick=lambda: self.reason_to_end, grace=0.3, patience=3.0,
        )  # fmt: skip
        self.thread = threading.Thread(target=self._run)

    def _audit(self, action: Audit) -> None:
        if self.audit is not None:
            self.audit(action)
        self.records.append(action.event)

    def _log(self, chunk: bytes) -> None:
        self.log += chunk

    def _run(self) -> None:
        try:
            self.ended.append(self.relay.run())
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.failed.append(error)

    def finish(self) -> str:
        """Wait for the end; gives its reason."""
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.ended[0].reason if self.ended else type(self.failed[0]).__name__

    def close(self) -> None:
        far = [self.to_host_in, self.from_host_out, self.from_server_in, self.to_server_out,
               self.to_server_err]  # fmt: skip
        for descriptor in (*far, *self._near, self.relay.server_in):
            if descriptor >= 0:
                shut(descriptor)


def shut(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)


@pytest.fixture
def wires() -> Iterator[Wires]:
    made = Wires()
    made.thread.start()
    yield made
    made.reason_to_end = "over"
    made.finish()
    made.close()


def line(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


def read_line(descriptor: int) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        chunk = os.read(descriptor, 1 << 16)
        assert chunk, data
        data += chunk
    return data


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_bytes(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, size - len(data))
    return data


def test_lines_pass_both_ways_whatever_pieces_they_come_in(wires: Wires) -> None:
    question = line(id=1, method="vendor/x", params={"text": "y" * 1000})
    for at in range(0, len(question), 100):
        os.write(wires.to_host_in, question[at : at + 100])
    assert read_line(wires.from_server_in) == question
    os.write(wires.to_server_out, b"\n  \n" + line(id=1, result={}))
    assert read_line(wires.from_host_out) == line(id=1, result={})
    os.write(wires.to_server_err, b"words\n")
    os.close(wires.to_server_out)
    assert wires.finish() == "server"
    assert wires.log == b"words\n"
    wires.to_server_out = -1


def test_a_server_may_write_before_it_reads_on(wires: Wires) -> None:
    """It is stuck on its output, and what waits for its input is more than is kept."""
    large = line(id=1, method="vendor/x", params={"text": "y" * (10 << 20)})
    noise = line(method="notifications/vendor", params={"text": "z" * 1000})
    host = threading.Thread(
        target=write_all, args=(wires.to_host_in, large + line(id=2, method="ping"))
    )
    host.start()
    seen = 0
    for _ in range(300):  # three times what a pipe holds, and nothing of its input is read
        write_all(wires.to_server_out, noise)
        seen += len(read_bytes(wires.from_host_out, len(noise)))
    assert seen == 300 * len(noise)
    assert read_bytes(wires.from_server_in, len(large)) == large
    host.join(20)


def test_a_last_line_may_lack_its_newline(wires: Wires) -> None:
    os.write(wires.to_host_in, line(id=1, method="ping").rstrip(b"\n"))
    os.close(wires.to_host_in)
    wires.to_host_in = -1
    assert read_line(wires.from_server_in) == line(id=1, method="ping")
    assert os.read(wires.from_server_in, 10) == b"", "the host's end is the server's"
    os.write(wires.to_server_out, line(id=1, result={}).rstrip(b"\n"))
    os.close(wires.to_server_out)
    wires.to_server_out = -1
    assert wires.finish() == "host"
    assert read_line(wires.from_host_out) == line(id=1, result={})


def test_a_server_that_does_not_answer_has_so_long_and_no_longer(wires: Wires) -> None:
    os.write(wires.to_host_in, line(id=1, method="ping"))
    os.close(wires.to_host_in)
    wires.to_host_in = -1
    assert wires.finish() == "host"


def test_a_host_that_is_gone_ends_it(wires: Wires) -> None:
    os.close(wires.from_host_out)
    wires.from_host_out = -1
    assert wires.finish() == "host"


def test_a_reason_to_end_ends_it_and_the_host_is_told_last(wires: Wires) -> None:
    wires.reason_to_end = "revoked"
    assert wires.finish() == "revoked"
    wires.relay.answer(line(id=1, error={"code": 1, "message": "revoked"}))
    assert b"revoked" in read_line(wires.from_host_out)


def test_a_slow_reader_is_waited_for_and_loses_nothing(wires: Wires) -> None:
    """More than the bound waits: then the other side has to wait, too."""
    big = line(id=1, result={"text": "z" * (3 << 20)})
    sent: list[int] = []

    def talk() -> None:
        for number in range(6):
            data = big.replace(b'"id": 1', b'"id": %d' % number)
            view = memoryview(data)
            while view:
                view = view[os.write(wires.to_server_out, view) :]
            sent.append(number)

    for number in range(6):
        os.write(wires.to_host_in, line(id=number, method="vendor/x"))
        read_line(wires.from_server_in)
    speaker = threading.Thread(target=talk)
    speaker.start()
    speaker.join(2)
    assert speaker.is_alive() and len(sent) < 6, "it was made to wait"
    received = read_bytes(wires.from_host_out, 6 * len(big))
    speaker.join(10)
    assert [json.loads(text)["id"] for text in received.splitlines()] == list(range(6))


def test_a_server_that_reads_nothing_holds_up_the_host(wires: Wires) -> None:
    big = line(method="notifications/x", params={"text": "z" * (3 << 20)})

    def talk() -> None:
        view = memoryview(big * 6)
        while view:
            view = view[os.write(wires.to_host_in, view) :]

    speaker = threading.Thread(target=talk)
    speaker.start()
    speaker.join(2)
    assert speaker.is_alive(), "it was made to wait"
    assert read_bytes(wires.from_server_in, 6 * len(big)) == big * 6
    speaker.join(10)
    assert not speaker.is_alive()


def test_noise_without_end_ends_it(wires: Wires) -> None:
    def shout() -> None:
        with contextlib.suppress(OSError):
            os.write(wires.to_server_out, b"noise\n" * (MAX_REFUSED + 10))

    speaker = threading.Thread(target=shout)
    speaker.start()
    assert wires.finish() == "server-misbehaves"
    speaker.join(5)
    assert len(wires.records) <= MAX_REFUSED


def test_a_line_without_end_ends_it(wires: Wires) -> None:
    def shout() -> None:
        try:
            while True:
                os.write(wires.to_server_out, b"x" * (1 << 20))
        except OSError:
            pass

    speaker = threading.Thread(target=shout)
    speaker.start()
    assert wires.finish() == "line-too-long"
    for descriptor in wires._near:
        shut(descriptor)
    speaker.join(5)
    assert not speaker.is_alive()


def test_nothing_passes_that_could_not_be_written_down(wires: Wires) -> None:
    def fail(_action: Audit) -> None:
        raise MemoryError("no room")

    wires.audit = fail
    os.write(wires.to_host_in, line(id=1, method="resources/read", params={"uri": "file:///x"}))
    assert wires.finish() == "MemoryError"
    os.set_blocking(wires.from_server_in, False)
    with pytest.raises(BlockingIOError):
        os.read(wires.from_server_in, 10)
