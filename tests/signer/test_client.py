"""Asking a server what it offers, and who it is that signs."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sigstore.errors
import sigstore.models
import sigstore.oidc

from mcps_signer import sign
from mcps_signer.client import CaptureClient, ServerSilentError
from mcps_trust.errors import McpsError

Answer = Callable[[dict[str, Any]], list[bytes] | None]


class Server:
    """The far end: answers each line as it is told, and ends when told None."""

    def __init__(self, answer: Answer) -> None:
        self.reads, self.stdin = os.pipe()
        self.stdout, self.writes = os.pipe()
        self.asked: list[dict[str, Any]] = []
        self._answer = answer
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with os.fdopen(self.reads, "rb") as lines, os.fdopen(self.writes, "wb", 0) as out:
            for line in lines:
                message = json.loads(line)
                self.asked.append(message)
                answers = self._answer(message)
                if answers is None:
                    return
                with contextlib.suppress(OSError):
                    for data in answers:
                        out.write(data)

    def client(self) -> CaptureClient:
        return CaptureClient(self.stdin, self.stdout, timeout=0.5)

    def close(self) -> None:
        os.close(self.stdin)
        self._thread.join(5)
        os.close(self.stdout)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    made: list[Server] = []

    def start(answer: Answer) -> Server:
        made.append(Server(answer))
        return made[-1]

    yield start
    for server in made:
        server.close()


def result(message: dict[str, Any], value: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}).encode() + b"\n"


def test_noise_and_questions_of_the_servers_do_not_confuse(
    serve: Callable[[Answer], Server],
) -> None:
    def answer(message: dict[str, Any]) -> list[bytes]:
        if "method" not in message or "id" not in message:
            return []
        asks = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "sampling/createMessage"}).encode()
        return [b"noise\n", b'{"id": 99, "result": {}}\n', asks + b"\n", result(message, {"x": 1})]

    server = serve(answer)
    assert server.client().request("ping", None)["result"] == {"x": 1}
    server.client().notify("notifications/initialized")
    deadline = time.monotonic() + 5
    while not [m for m in server.asked if "error" in m] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [m["error"]["code"] for m in server.asked if "error" in m] == [-32601]


def test_a_server_of_neither_era_is_none(serve: Callable[[Answer], Server]) -> None:
    client = serve(lambda m: [result(m, [])]).client()
    assert client.initialize({}) is None
    assert client.discover({}) is None
    assert client.list_all("tools/list", "tools", None) is None
    modern = serve(lambda m: [result(m, {"supportedVersions": ["2026-07-28"]})]).client()
    assert modern.discover({}) == {"supportedVersions": ["2026-07-28"]}


def test_all_pages_of_a_list_are_read(serve: Callable[[Answer], Server]) -> None:
    def answer(message: dict[str, Any]) -> list[bytes]:
        page = int(message["params"].get("cursor", "0"))
        more = {"nextCursor": str(page + 1)} if page < 3 else {}
        return [result(message, {"tools": [{"name": f"t{page}"}, "junk"], **more})]

    found = serve(answer).client().list_all("tools/list", "tools", {"meta": 1})
    assert found == [{"name": f"t{page}"} for page in range(4)]
    endless = serve(lambda m: [result(m, {"tools": [], "nextCursor": "again"})]).client()
    with pytest.raises(ServerSilentError, match="no last page"):
        endless.list_all("tools/list", "tools", None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [(lambda _m: [], "does not answer"), (lambda _m: None, "ended")],
    ids=["silent", "gone"],
)
def test_a_server_that_says_nothing_is_given_up(
    serve: Callable[[Answer], Server], answer: Answer, words: str
) -> None:
    with pytest.raises(ServerSilentError, match=words):
        serve(answer).client().request("ping", None)


def test_a_line_without_end_is_given_up(
    serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcps_signer.client._MAX_LINE", 1000)
    with pytest.raises(ServerSilentError, match="no end"):
        serve(lambda _m: [b"x" * 5000]).client().request("ping", None)
    reads, writes = os.pipe()
    os.close(reads)
    with pytest.raises(ServerSilentError, match="does not read"):
        CaptureClient(writes, writes, timeout=1).request("ping", None)
    os.close(writes)


# who signs ----------------------------------------------------------------------------------------


def test_the_identity_of_a_ci_job_is_taken_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sign, "detect_credential", lambda: "a token")
    assert sign.ambient_token(None) == "a token"
    monkeypatch.setattr(sign, "detect_credential", lambda: None)
    with pytest.raises(McpsError) as caught:
        sign.ambient_token(None)
    assert caught.value.code == "no-identity" and "--identity-token" in caught.value.remedy

    def fail() -> None:
        raise sigstore.oidc.IdentityError("the job has no permission")

    monkeypatch.setattr(sign, "detect_credential", fail)
    with pytest.raises(McpsError) as caught:
        sign.ambient_token(None)
    assert caught.value.code == "no-identity" and "permission" in str(caught.value.found)


def test_a_public_instance_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise sigstore.errors.TUFError("cannot be reached")

    monkeypatch.setattr(sigstore.models.ClientTrustConfig, "production", fail)
    with pytest.raises(McpsError) as caught:
        sign.public_instance()
    assert caught.value.code == "signing-failed"


def test_a_server_that_talks_without_end_is_given_up_in_time(
    serve: Callable[[Answer], Server],
) -> None:
    def noise(_message: dict[str, Any]) -> list[bytes]:
        return [b"noise\n" * 1000] * 100_000

    server = serve(noise)
    began = time.monotonic()
    with pytest.raises(ServerSilentError):
        server.client().request("ping", None)
    assert time.monotonic() - began < 10
    os.close(server.stdout)
    server.stdout = os.open(os.devnull, os.O_RDONLY)


def test_a_server_that_asks_without_reading_is_given_up_in_time() -> None:
    reads, stdin = os.pipe()
    stdout, writes = os.pipe()
    question = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage"}).encode()
    flood = threading.Thread(target=shout, args=(writes, question + b"\n"))
    flood.start()
    began = time.monotonic()
    with pytest.raises(ServerSilentError):
        CaptureClient(stdin, stdout, timeout=0.5).request("ping", None)
    assert time.monotonic() - began < 10
    for descriptor in (reads, stdin, stdout):
        os.close(descriptor)
    flood.join(5)
    os.close(writes)


def shout(descriptor: int, words: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, words * 100)
