"""What the registry publishes, what it refuses, and that a kill loses nothing."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcps_registry.ceremony.holders import signer
from mcps_registry.ceremony.key_file import KeyFile
from mcps_registry.lanes.edit import next_version
from mcps_registry.sigstore.log import TransparencyLog
from mcps_registry.sigstore.tokens import TokenChecker
from mcps_trust.errors import McpsError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.names import allow_list_path
from mcps_trust.model.revocation import Revocations
from mcps_trust.tuf.client import open_registry
from worlds import PASSPHRASE, TEAM, World

TARGET = allow_list_path(TEAM)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every published file but the timestamp."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name != "timestamp.json"}  # fmt: skip


def test_a_client_reads_what_was_published(world: World, tmp_path: Path) -> None:
    root = (world.desk.folder.public / "metadata/1.root.json").read_bytes()
    with Http(HttpSettings()) as http, open_registry(tmp_path, world.url, root, http) as registry:
        registry.refresh()
        assert AllowList.parse(registry.target(TARGET)).team == TEAM
        assert registry.state().root == 1
        with pytest.raises(McpsError) as caught:
            registry.target("trust/nothing.json")
    assert caught.value.code == "target-missing"


def allow_list() -> bytes:
    return AllowList(team=TEAM, platforms=("linux/x86_64",)).to_bytes()


@pytest.mark.parametrize(
    ("path", "data", "code"),
    [
        ("/etc/evil.pth", b"x", "role-refused"),
        ("../../evil.pth", b"x", "role-refused"),
        ("teams/demo/other.json", b"{}\n", "role-refused"),
    ],
)
def test_a_file_that_no_signed_role_names_is_never_written(
    own_world: World, path: str, data: bytes, code: str
) -> None:
    public = own_world.desk.folder.public
    before = snapshot(public)
    body = json.dumps({"roles": {}, "files": {path: base64.b64encode(data).decode()}}).encode()
    with Http(HttpSettings()) as http:
        answer = http.request("POST", f"{own_world.url}/api/v1/roles", limit=10_000, body=body)
    assert answer.status == 403
    assert json.loads(answer.body)["error"]["code"] == code
    role = "team-demo"
    now = datetime.now(UTC)
    own = signer(own_world.keys[role])
    good = next_version(
        role, own_world.desk.repository.role(role), [own], now, files={TARGET: allow_list()}
    )
    with pytest.raises(McpsError) as caught:
        own_world.desk.accept_roles({role: good}, {TARGET: allow_list(), path: data}, now)
    assert caught.value.code == code
    assert snapshot(public) == before
    own_world.desk.accept_roles({role: good}, {TARGET: allow_list()}, now)


def test_a_role_by_another_key_is_refused(own_world: World) -> None:
    repository, now = own_world.desk.repository, datetime.now(UTC)
    before = snapshot(own_world.desk.folder.public)
    files = {"revoked/list.json": Revocations().to_bytes()}
    own = signer(own_world.keys["revoked"])
    genuine = next_version("revoked", repository.role("revoked"), [own], now, files=files)
    document = json.loads(genuine)
    stranger = signer(own_world.keys["teams"])
    document["signatures"] = [
        {"keyid": own.public_key.keyid, "sig": stranger.sign(b"something").signature}
    ]
    with pytest.raises(McpsError) as caught:
        own_world.desk.accept_roles({"revoked": json.dumps(document).encode()}, files, now)
    assert caught.value.code == "role-refused"
    assert snapshot(own_world.desk.folder.public) == before
    own_world.desk.accept_roles({"revoked": genuine}, files, now)


def test_a_version_is_never_published_twice(own_world: World) -> None:
    now = datetime.now(UTC)
    own = signer(own_world.keys["revoked"])
    files = {"revoked/list.json": Revocations().to_bytes()}
    role = next_version(
        "revoked", own_world.desk.repository.role("revoked"), [own], now, files=files
    )
    own_world.desk.accept_roles({"revoked": role}, files, now)
    with pytest.raises(McpsError) as caught:
        own_world.desk.accept_roles({"revoked": role}, files, now)
    assert caught.value.code == "version-conflict"


def test_revocations_cannot_be_dropped(own_world: World) -> None:
    own_world.revoke("publisher", "org.evil")
    with pytest.raises(McpsError) as caught:
        own_world.publish_role("revoked", {"revoked/list.json": Revocations().to_bytes()})
    assert caught.value.code == "revocation-dropped"
    own_world.revoke("publisher", "org.other")


def test_online_roles_cannot_be_handed_in(own_world: World) -> None:
    data = own_world.desk.repository.role("snapshot") or b""
    with pytest.raises(McpsError) as caught:
        own_world.desk.accept_roles({"snapshot": data}, {}, datetime.now(UTC))
    assert caught.value.code == "role-refused"


PUBLISH = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from mcps_registry.configuration import RegistryFolder
from mcps_registry.desk import open_desk

desk = open_desk(RegistryFolder(Path(sys.argv[1])), lambda: b"for tests")
desk.repository.refresh(datetime.now(UTC))
print("ready", flush=True)
while True:
    desk.repository.refresh(datetime.now(UTC))
"""


def test_a_kill_while_publishing_loses_nothing(own_world: World, tmp_path: Path) -> None:
    folder = own_world.desk.folder.path
    root = (own_world.desk.folder.public / "metadata/1.root.json").read_bytes()
    versions = []
    for round_number in range(5):
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", PUBLISH, str(folder)], stdout=subprocess.PIPE
        )
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.05 + 0.03 * round_number)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with (
            Http(HttpSettings()) as http,
            open_registry(tmp_path / "client", own_world.url, root, http) as registry,
        ):
            registry.refresh()
            assert registry.target(TARGET)
            versions.append(registry.state().timestamp)
    assert versions == sorted(versions)
    own_world.desk.repository.refresh(datetime.now(UTC))


def test_key_files_open_only_with_their_passphrase(world: World, tmp_path: Path) -> None:
    path = next(world.desk.folder.keys.glob("on-call/revoked.json"))
    key = KeyFile.read(path)
    assert key.open(PASSPHRASE)
    with pytest.raises(McpsError) as caught:
        key.open(b"wrong")
    assert caught.value.code == "wrong-passphrase"
    document = json.loads(path.read_text())
    other = json.loads(next(world.desk.folder.keys.glob("it/teams.json")).read_text())
    swapped = tmp_path / "swapped.json"
    swapped.write_text(json.dumps({**document, "public": other["public"]}))
    with pytest.raises(McpsError) as caught:
        KeyFile.read(swapped).open(PASSPHRASE)
    assert caught.value.code == "wrong-passphrase"
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_log_notices_a_changed_or_missing_entry(own_world: World, tmp_path: Path) -> None:
    key = own_world.keys["log"]
    log = TransparencyLog(tmp_path / "log", "test", key)  # type: ignore[arg-type]  # Ed25519
    for number in range(5):
        log.append({"n": number})
    entries = tmp_path / "log" / "entries.jsonl"
    whole = entries.read_bytes()
    for damaged in (whole.replace(b'"n":3', b'"n":4', 1), whole[: whole.rstrip().rfind(b"\n") + 1]):
        entries.write_bytes(damaged)
        with pytest.raises(McpsError) as caught:
            TransparencyLog(tmp_path / "log", "test", key)  # type: ignore[arg-type]  # Ed25519
        assert caught.value.code == "log-damaged"
    entries.write_bytes(whole + b'{"half":')
    again = TransparencyLog(tmp_path / "log", "test", key)  # type: ignore[arg-type]  # Ed25519
    assert len(again) == len(log)


@pytest.mark.parametrize("change", ["issuer", "expired", "audience", "none"])
def test_a_token_that_is_not_right_gets_no_certificate(world: World, change: str) -> None:
    import jwt

    checker = TokenChecker({}, HttpSettings())
    checker.add_local(world.issuer.issuer, world.issuer.keys())
    token = world.token()
    assert checker.check(token).value == "author@example.org"
    claims = jwt.decode(token, options={"verify_signature": False})
    if change == "issuer":
        claims["iss"] = "https://evil.example.org"
    elif change == "expired":
        claims["exp"] = int((datetime.now(UTC) - timedelta(hours=1)).timestamp())
    elif change == "audience":
        claims["aud"] = "other"
    algorithm = "none" if change == "none" else "ES256"
    key = None if change == "none" else world.keys["oidc"]
    forged = jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "development"})  # type: ignore[arg-type]
    with pytest.raises(McpsError) as caught:
        checker.check(forged)
    assert caught.value.code == "token-refused"


def test_static_files_say_404_and_cache_what_never_changes(world: World) -> None:
    with Http(HttpSettings()) as http:
        for path in ("metadata/99.root.json", "metadata/../config.toml", "config.toml", "keys/x"):
            assert http.get(f"{world.url}/{path}", limit=1000).status == 404
        root = http.get(f"{world.url}/metadata/1.root.json", limit=100_000)
        assert "immutable" in root.headers["cache-control"]
        stamp = http.get(f"{world.url}/metadata/timestamp.json", limit=100_000)
        assert "immutable" not in stamp.headers["cache-control"]
        again = http.request(
            "GET",
            f"{world.url}/metadata/1.root.json",
            limit=1000,
            headers={"If-None-Match": root.headers["etag"]},
        )
        assert again.status == 304
