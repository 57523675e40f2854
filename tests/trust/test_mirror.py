"""A mirror between registry and host that lies, stalls or shows an older state."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mcps_trust.errors import McpsError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from mcps_trust.tuf.client import open_registry
from worlds import World

SETTINGS = HttpSettings(timeout=3)


class Mirror:
    """Serves a registry's files, or misbehaves."""

    def __init__(self, public: Path) -> None:
        self.public = public
        self.mode = "honest"
        self.replay: dict[str, bytes] = {}
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.lstrip("/")
        place = self.public / path
        status, body = 200, b""
        if self.mode == "errors":
            status = 503
        elif self.mode == "portal":
            body = b"<html>log in first</html>"
        elif path in self.replay:
            body = self.replay[path]
        elif place.is_file():
            body = place.read_bytes()
        else:
            status = 404
        if self.mode == "trickle":
            with contextlib.suppress(OSError):
                for _ in range(600):
                    handler.wfile.write(b"H")
                    time.sleep(0.1)
            handler.close_connection = True
            return
        handler.send_response(status)
        if self.mode == "endless":
            handler.end_headers()
            try:
                for _ in range(1024):  # 64 MiB: far more than any limit
                    handler.wfile.write(b"x" * 65536)
            except OSError:
                handler.close_connection = True
                return
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


@pytest.fixture
def mirror(own_world: World) -> Iterator[Mirror]:
    made = Mirror(own_world.desk.folder.public)
    yield made
    made.close()


def read(mirror: Mirror, cache: Path) -> int:
    """Refresh and read one target; gives the timestamp's version."""
    root = (mirror.public / "metadata/1.root.json").read_bytes()
    with Http(SETTINGS) as http, open_registry(cache, mirror.url, root, http) as registry:
        registry.refresh()
        assert registry.target("revoked/list.json")
        return registry.state().timestamp


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("errors", "registry-unavailable"),
        ("portal", "metadata-invalid"),
        ("endless", "registry-unavailable"),
    ],
)
def test_a_mirror_that_does_not_answer_as_one_is_refused(
    mirror: Mirror, tmp_path: Path, mode: str, code: str
) -> None:
    cache = tmp_path / "cache"
    version = read(mirror, cache)
    before = (cache / "metadata/timestamp.json").read_bytes()
    mirror.mode = mode
    with pytest.raises(McpsError) as caught:
        read(mirror, cache)
    assert caught.value.code == code
    assert (cache / "metadata/timestamp.json").read_bytes() == before
    mirror.mode = "honest"
    assert read(mirror, cache) == version


def test_an_older_state_is_refused_by_who_has_seen_a_newer(
    own_world: World, mirror: Mirror, tmp_path: Path
) -> None:
    old = (mirror.public / "metadata/timestamp.json").read_bytes()
    own_world.revoke("publisher", "org.evil")
    cache = tmp_path / "cache"
    read(mirror, cache)
    mirror.replay["metadata/timestamp.json"] = old
    with pytest.raises(McpsError) as caught:
        read(mirror, cache)
    assert caught.value.code == "metadata-rolled-back"
    mirror.replay.clear()
    read(mirror, cache)


def test_a_state_that_has_expired_is_refused(
    own_world: World, mirror: Mirror, tmp_path: Path
) -> None:
    now, cache = datetime.now(UTC), tmp_path / "cache"
    own_world.desk.repository.refresh(now - timedelta(days=30))
    with pytest.raises(McpsError) as caught:
        read(mirror, cache)
    assert caught.value.code == "metadata-expired"
    own_world.desk.repository.refresh(now)
    read(mirror, cache)


def test_a_role_that_is_lost_from_the_cache_ends_nothing(mirror: Mirror, tmp_path: Path) -> None:
    root = (mirror.public / "metadata/1.root.json").read_bytes()
    with Http(SETTINGS) as http, open_registry(tmp_path, mirror.url, root, http) as registry:
        registry.refresh()
        registry.target("revoked/list.json")
        before = registry.state()
        (tmp_path / "metadata/revoked.json").unlink()
        assert registry.state().timestamp == before.timestamp


def test_mixed_states_do_not_fit_together(own_world: World, mirror: Mirror, tmp_path: Path) -> None:
    def newest(role: str) -> str:
        found = max((mirror.public / "metadata").glob(f"*.{role}.json"),
                    key=lambda path: int(path.name.partition(".")[0]))  # fmt: skip
        return found.name

    old = (mirror.public / "metadata" / newest("snapshot")).read_bytes()
    own_world.revoke("publisher", "org.evil")
    mirror.replay[f"metadata/{newest('snapshot')}"] = old
    with pytest.raises(McpsError) as caught:
        read(mirror, tmp_path / "cache")
    assert caught.value.code in ("metadata-invalid", "metadata-rolled-back")
    mirror.replay.clear()
    read(mirror, tmp_path / "cache")


def test_a_target_with_other_bytes_is_refused(
    own_world: World, mirror: Mirror, tmp_path: Path
) -> None:
    own_world.desk.repository.refresh(datetime.now(UTC))
    (path,) = (mirror.public / "targets/revoked").glob("*.list.json")
    name = f"targets/revoked/{path.name}"
    mirror.replay[name] = path.read_bytes().replace(b"[", b"[ ")
    with pytest.raises(McpsError) as caught:
        read(mirror, tmp_path / "cache")
    assert caught.value.code == "metadata-invalid"
    mirror.replay.clear()
    read(mirror, tmp_path / "cache")


def test_a_mirror_that_trickles_is_given_up_in_time(mirror: Mirror, tmp_path: Path) -> None:
    """Each byte comes in time; the whole answer does not."""
    mirror.mode = "trickle"
    began = time.monotonic()
    with pytest.raises(McpsError) as caught:
        read(mirror, tmp_path / "cache")
    assert caught.value.code == "registry-unavailable"
    assert time.monotonic() - began < 5 * SETTINGS.timeout
    mirror.mode = "honest"
    assert read(mirror, tmp_path / "cache")
