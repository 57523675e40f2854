"""A registry that lies to those who sign: nothing of what it invents gets their signature."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from tuf.api.metadata import DelegatedRole, Delegations, Targets

from mcps_registry.access import Access, LocalAccess, open_access
from mcps_registry.ceremony.holders import signer
from mcps_registry.lanes.edit import next_version
from mcps_registry.lanes.roles import team_role
from mcps_registry.own_target import change_target
from mcps_registry.review.examine import examine
from mcps_trust.errors import McpsError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from mcps_trust.model import strict_json
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.digest import Sha256
from mcps_trust.model.names import allow_list_path
from mcps_trust.tuf.client import open_registry
from worlds import PASSPHRASE, TEAM, World

TARGET = allow_list_path(TEAM)
ROLE = team_role(TEAM)
INVENTED = AllowList(team=TEAM, platforms=("linux/x86_64", "linux/aarch64")).to_bytes()


class Hoarder(LocalAccess):
    """A registry that takes what is signed, and goes on showing what was there."""

    def __init__(self, world: World) -> None:
        super().__init__(world.desk)
        self.accept_roles = lambda roles, files, now: None  # noqa: ARG005 - called by keyword


class Liar(LocalAccess):
    """An honest registry, but for what is put in the place of its answers."""

    def __init__(self, world: World, **lies: bytes | None) -> None:
        super().__init__(world.desk)
        self._lies = lies

    def role(self, role: str) -> bytes | None:
        return self._lies["role"] if "role" in self._lies else super().role(role)

    def file(self, path: str, digest: Sha256) -> bytes:
        return self._lies.get("file") or super().file(path, digest)


def signed_by_a_stranger(world: World) -> bytes:
    key = signer(ed25519.Ed25519PrivateKey.generate())
    return next_version(ROLE, None, [key], datetime.now(UTC), files={TARGET: INVENTED})


def change(world: World, access: Access) -> list[bytes]:
    """What the team's holder is made to build on."""
    built_on: list[bytes] = []

    def keep(data: bytes) -> bytes:
        built_on.append(data)
        return data

    change_target(
        access, TARGET, role=ROLE, signers=[signer(world.keys[ROLE])], change=keep,
        now=datetime.now(UTC),
    )  # fmt: skip
    return built_on


def test_a_registry_that_drops_a_change_is_found_out(world: World) -> None:
    def more(data: bytes) -> bytes:
        return strict_json.dumps({**json.loads(data), "platforms": ["linux/riscv64"]})

    with pytest.raises(McpsError) as caught:
        change_target(
            Hoarder(world), TARGET, role=ROLE, signers=[signer(world.keys[ROLE])],
            change=more, now=datetime.now(UTC),
        )  # fmt: skip
    assert caught.value.code == "not-published"
    assert change(world, LocalAccess(world.desk)), "and one that does not is believed"


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lambda w: Liar(w, role=signed_by_a_stranger(w)), "not-signed-by-this-key"),
        (lambda w: Liar(w, role=w.desk.repository.role("teams")), "not-signed-by-this-key"),
        (lambda w: Liar(w, role=w.desk.repository.role("snapshot")), "not-signed-by-this-key"),
        (lambda w: Liar(w, role=b"{}"), "not-signed-by-this-key"),
        (lambda w: Liar(w, role=b"<html>"), "not-signed-by-this-key"),
        (lambda w: Liar(w, role=None), "unavailable"),
        (lambda w: Liar(w, file=INVENTED), "not-signed-by-this-key"),
    ],
    ids=["another's signature", "another role", "another kind", "empty", "no metadata", "nothing",
         "another content"],
)  # fmt: skip
def test_what_the_registry_invents_is_not_built_on(
    world: World, lie: Callable[[World], Access], code: str
) -> None:
    before = world.desk.repository.role(ROLE)
    with pytest.raises(McpsError) as caught:
        change(world, lie(world))
    assert caught.value.code == code
    assert world.desk.repository.role(ROLE) == before
    assert change(world, LocalAccess(world.desk)) == [world.desk.repository.target(TARGET)]


def test_a_target_that_the_role_does_not_name_is_not_changed(world: World) -> None:
    with pytest.raises(McpsError) as caught:
        change_target(
            LocalAccess(world.desk), "teams/demo/other.json", role=ROLE,
            signers=[signer(world.keys[ROLE])], change=bytes, now=datetime.now(UTC),
        )  # fmt: skip
    assert caught.value.code == "not-signed-by-this-key"


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """A server that answers everything so; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the base class names it so

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def root_of(world: World) -> bytes:
    return (world.desk.folder.public / "metadata/1.root.json").read_bytes()


def code_from(url: str, root: bytes | None, ask: Callable[[Access], object]) -> str:
    with (
        pytest.raises(McpsError) as caught,
        open_access(url, root, lambda: PASSPHRASE) as access,
    ):
        ask(access)
    return caught.value.code


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>busy</html>", 200), (b"{}", 200), (b'{"signed": []}', 200), (b"oops", 503)],
    ids=["a page", "empty", "of no form", "an error"],
)
def test_what_does_not_answer_as_a_registry_is_said_to_be_none(
    world: World, body: bytes, status: int
) -> None:
    root = root_of(world)
    with answering(body, status) as url:
        if status == 200:
            assert code_from(url, root, lambda a: a.role(ROLE)) == "unavailable"
        assert code_from(url, root, lambda a: a.target(TARGET)) in (
            "metadata-invalid", "registry-unavailable",
        )  # fmt: skip
        assert code_from(url, root, lambda a: a.file(TARGET, Sha256("0" * 64))) == "unavailable"
        assert code_from(url, root, lambda a: a.blob(Sha256("0" * 64))) == "unavailable"
        for ask in (lambda a: a.submissions(), lambda a: a.submission("x")):
            assert code_from(url, root, ask) in ("unavailable", "field")
    with open_access(world.url, root, lambda: PASSPHRASE) as access:
        assert access.role(ROLE) == world.desk.repository.role(ROLE)
        assert access.target(TARGET) == world.desk.repository.target(TARGET)
        assert access.target("trust/nothing.json") is None
        assert access.role("nothing") is None
        assert isinstance(access.submissions(), list)


def test_what_a_registry_trusts_is_verified_from_a_root_that_the_user_holds(
    world: World, own_world: World
) -> None:
    assert code_from(world.url, None, lambda a: a.target(TARGET)) == "no-registry-root"
    stranger = root_of(own_world)
    assert code_from(world.url, stranger, lambda a: a.target(TARGET)) == "metadata-invalid"
    assert code_from(world.url, b"{}", lambda a: a.target(TARGET)) == "metadata-invalid"
    with open_access(world.url, root_of(world), lambda: PASSPHRASE) as access:
        assert access.target(TARGET) == world.desk.repository.target(TARGET)


def test_a_folder_that_holds_no_registry_is_refused(tmp_path: Path) -> None:
    assert code_from(str(tmp_path), None, lambda a: a.role(ROLE)) == "not-a-registry"


@pytest.mark.bwrap
def test_another_release_than_was_asked_for_is_not_reviewed(world: World) -> None:
    """Whatever the registry answers, the signed statement says what it is about."""
    good, bad = (world.submit(world.release(name)) for name in ("good", "bad"))

    def swapped(release: str) -> dict[str, Any]:
        del release
        return bad

    class Swapper(LocalAccess):
        def __init__(self) -> None:
            super().__init__(world.desk)
            self.submission = swapped

    for asked in ("org.example/good@1.0.0", good["release"], good["release"][:12]):
        assert examine(LocalAccess(world.desk), asked).proof.release == good["release"]
        with pytest.raises(McpsError) as caught:
            examine(Swapper(), asked)
        assert caught.value.code == "submission-mismatch"


def in_a_circle(world: World) -> bytes:
    """The team's next version, in which it delegates to itself."""
    own = signer(world.keys[ROLE])

    def delegate(signed: Targets) -> None:
        role = DelegatedRole(ROLE, [own.public_key.keyid], 1, terminating=False,
                             paths=["teams/*/*"])  # fmt: skip
        signed.delegations = Delegations({own.public_key.keyid: own.public_key}, roles={ROLE: role})

    before = world.desk.repository.role(ROLE)
    return next_version(ROLE, before, [own], datetime.now(UTC), change=delegate)


def test_a_role_that_may_not_delegate_is_refused_where_it_does(world: World) -> None:
    """Delegations that go in a circle would be followed for ever."""
    before = world.desk.repository.role(ROLE)
    new = in_a_circle(world)
    with pytest.raises(McpsError) as caught:
        world.desk.accept_roles({ROLE: new}, {}, datetime.now(UTC))
    assert caught.value.code == "role-refused"
    assert world.desk.repository.role(ROLE) == before


def test_delegations_that_go_in_a_circle_are_walked_once(
    own_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    new = in_a_circle(own_world)
    monkeypatch.setattr("mcps_registry.lanes.repository._DELEGATORS", frozenset({"teams", ROLE}))
    own_world.desk.accept_roles({ROLE: new}, {}, now)
    root = root_of(own_world)
    with (
        Http(HttpSettings()) as http,
        open_registry(tmp_path, own_world.url, root, http) as registry,
    ):
        registry.refresh()
        assert registry.target(TARGET)
        assert registry.state().expires > now
