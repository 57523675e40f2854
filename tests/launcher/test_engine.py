"""The Docker engine's interface, held against answers of an engine that is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcps_launcher.sandbox.engine import Engine, EngineError


@contextmanager
def answering(folder: Path, *answers: bytes) -> Iterator[Engine]:
    """An engine that gives these answers to one request each, whatever is asked."""
    path = str(folder / "engine.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield Engine(path)
        server.join(10)


def head(status: str, *fields: str) -> bytes:
    return "\r\n".join((f"HTTP/1.0 {status}", *fields, "", "")).encode()


def test_an_answer_is_read_to_the_end_of_the_connection(tmp_path: Path) -> None:
    with answering(tmp_path, head("201 Created", "Server: E/1") + b'{"Id": "x"}\n') as engine:
        assert engine.call("POST", "/containers/create", body={}) == {"Id": "x"}


def test_an_answer_without_a_document_is_none(tmp_path: Path) -> None:
    with answering(tmp_path, head("204 No Content")) as engine:
        assert engine.call("DELETE", "/containers/x") is None


def test_a_ping_names_the_engine(tmp_path: Path) -> None:
    with answering(tmp_path, head("200 OK", "sErVeR:  Docker/20.10 (linux) ") + b"OK") as engine:
        assert engine.version() == "Docker/20.10 (linux)"


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (head("404 Not Found") + b'{"message": "No such image"}', 404, "No such image"),
        (head("500 Oh") + b"[]", 500, "status 500"),
        (head("200 OK") + b'{"Id": ', 200, "not JSON"),
        (b"", 0, "not an answer"),
        (b"SSH-2.0-OpenSSH\r\n", 0, "not an answer"),
        (b"HTTP/1.0 2x0 OK\r\n\r\n{}", 0, "not an answer"),
    ],
)
def test_an_answer_that_is_no_engines_is_an_error(
    tmp_path: Path, answer: bytes, status: int, says: str
) -> None:
    with answering(tmp_path, answer) as engine:
        with pytest.raises(EngineError, match=says) as caught:
            engine.call("GET", "/containers/json")
        assert caught.value.status == status


@pytest.mark.parametrize(
    "ask", [lambda engine: engine.version(), lambda engine: engine.attach("x")]
)
def test_neither_ping_nor_attachment_believes_an_error(
    tmp_path: Path, ask: Callable[[Engine], object]
) -> None:
    busy = head("503 Busy", "Server: Docker/20.10")
    with answering(tmp_path, busy) as engine, pytest.raises(EngineError):
        ask(engine)


def test_what_follows_the_head_of_an_attachment_is_left_to_be_read(tmp_path: Path) -> None:
    answer = head("101 UPGRADED") + b"the stream"
    with answering(tmp_path, answer) as engine, engine.attach("x") as streams:
        assert streams.recv(100) == b"the stream"


def test_no_engine_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No such file"):
        Engine(str(tmp_path / "engine.sock")).call("GET", "/_ping")
