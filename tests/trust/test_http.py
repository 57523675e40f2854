"""Answers that come late, come slowly, or end before they are whole."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from mcps_trust.errors import McpsError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
OLD_HEAD = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n"


class Peer:
    """Says what it is told to, to each connection, in its own time."""

    def __init__(self) -> None:
        self.say: Callable[[socket.socket], None] = lambda _connection: None
        self.asked: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.asked.append(connection.recv(65536))
            self.say(connection)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


def slowly(head: bytes, body: bytes) -> Callable[[socket.socket], None]:
    """The head at once, and each byte after a while that is short of any limit of its own."""

    def say(connection: socket.socket) -> None:
        connection.sendall(head)
        for byte in body:
            time.sleep(0.3)
            connection.sendall(bytes([byte]))

    return say


def get(peer: Peer) -> bytes:
    with Http(HttpSettings(timeout=1)) as http:
        return http.get(peer.url, limit=1000).body


@pytest.mark.parametrize(
    "say",
    [
        slowly(HEAD, b"x" * 10),
        slowly(OLD_HEAD, b"x" * 10),
        slowly(b"", HEAD),
        lambda _connection: time.sleep(5),
    ],
    ids=["body", "body without a length", "head", "nothing"],
)
def test_an_answer_that_takes_too_long_is_none(
    peer: Peer, say: Callable[[socket.socket], None]
) -> None:
    peer.say = say
    began = time.monotonic()
    with pytest.raises(McpsError) as caught:
        get(peer)
    assert caught.value.code == "server-unreachable"
    assert time.monotonic() - began < 4
    peer.say = lambda connection: connection.sendall(HEAD + b"0123456789")
    assert get(peer) == b"0123456789"


def test_an_answer_that_is_cut_off_is_none(peer: Peer) -> None:
    peer.say = lambda connection: connection.sendall(HEAD + b"01234")
    with pytest.raises(McpsError) as caught:
        get(peer)
    assert caught.value.code == "server-unreachable"
    peer.say = lambda connection: connection.sendall(OLD_HEAD + b"whole")
    assert get(peer) == b"whole"


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "example.org", "http://", "http://127.0.0.1:x/", ""]
)
def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    with Http(HttpSettings()) as http, pytest.raises(McpsError) as caught:
        http.get(url, limit=10)
    assert caught.value.code == "bad-url"


def test_a_connection_that_was_closed_while_idle_is_made_again(peer: Peer) -> None:
    peer.say = lambda connection: connection.sendall(HEAD + b"0123456789")  # and closes
    with Http(HttpSettings(timeout=2)) as http:
        assert http.get(peer.url, limit=100).body == b"0123456789"
        assert http.get(peer.url + "?again=1", limit=100).body == b"0123456789"
        peer.say = lambda _connection: None
        with pytest.raises(McpsError) as caught:
            http.get(peer.url, limit=100)
        assert caught.value.code == "server-unreachable"
        peer.close()
        with pytest.raises(McpsError) as caught:
            http.request("POST", peer.url, limit=100, body=b"x")
        assert caught.value.code == "server-unreachable"


def test_more_than_was_allowed_is_not_read(peer: Peer) -> None:
    peer.say = lambda connection: connection.sendall(HEAD + b"0123456789")
    with Http(HttpSettings(timeout=2)) as http, pytest.raises(McpsError) as caught:
        http.get(peer.url, limit=9)
    assert caught.value.code == "server-unreachable" and "more than it may" in caught.value.what


def test_a_proxy_is_asked_for_what_is_elsewhere(peer: Peer) -> None:
    asked: list[bytes] = []

    def say(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"0123456789")

    peer.say, peer.asked = say, asked
    proxy = peer.url.removeprefix("http://").rstrip("/")
    with Http(HttpSettings(timeout=2, proxy=proxy)) as http:
        assert http.get("http://far.example.org/x?y=1", limit=100).body == b"0123456789"
        with pytest.raises(McpsError) as caught:
            http.get("https://far.example.org/x", limit=100)
    assert asked[0].startswith(b"GET http://far.example.org/x?y=1 HTTP/1.1")
    assert asked[1].startswith(b"CONNECT far.example.org:")
    assert caught.value.code == "server-unreachable"
