"""Worlds: a registry with its private Sigstore, served on loopback, and hosts enrolled with it.

Everything in them is real: keys, signatures, metadata, HTTP, bubblewrap, processes. Only the
servers are small, and their wheels are made here, so that no package index is needed.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from tuf.api.metadata import Targets

from hosts import ECHO_SERVER, INITIALIZE, Host, call, request
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.install.fetch import FetchSettings
from mcps_launcher.places import Places
from mcps_registry.api.application import make_application
from mcps_registry.api.sigstore import sigstore_routes
from mcps_registry.ceremony import begin as ceremony
from mcps_registry.ceremony.holders import find_key, signer
from mcps_registry.configuration import RegistryConfiguration, RegistryFolder
from mcps_registry.desk import Desk, open_desk
from mcps_registry.lanes.edit import next_version
from mcps_registry.lanes.roles import team_delegation, team_role
from mcps_registry.review.draft import draft_entry
from mcps_registry.sigstore.instance import Instance, open_instance
from mcps_registry.sigstore.tokens import DevelopmentIssuer, TokenChecker
from mcps_signer.capture import capture
from mcps_signer.closure.source import Locked, Source
from mcps_signer.release import Release
from mcps_signer.sign import Instance as SigningInstance
from mcps_signer.sign import sign_release
from mcps_trust.bundle.approvals import sign_approval
from mcps_trust.http_settings import HttpSettings
from mcps_trust.model.allow_list import Allowed, AllowList, Tightening
from mcps_trust.model.approval import ApprovalStatement
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.entry import Artifacts, Entry
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.names import Alias, EntryPath, TeamId, allow_list_path, parse_team
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.pylock import PythonClosure
from mcps_trust.model.revocation import Kind, Revocation, Revocations
from mcps_trust.model.server_json import ServerJson
from mcps_trust.model.statement import Closure, ReleasePackage, ReleaseStatement, Run
from mcps_trust.model.vetting import ToolRule
from wheels import write_lock, write_wheel

__all__ = ["AUTHOR", "ECHO_SERVER", "INITIALIZE", "NAMESPACE", "PASSPHRASE", "TEAM", "Host", "World",
           "call", "free_port", "host", "make_world", "open_world", "own_world", "remove", "request", "world"]  # fmt: skip

PASSPHRASE = b"for tests"
AUTHOR = "author@example.org"
NAMESPACE = "org.example"
TEAM = parse_team("demo")


@dataclass
class World:
    """One registry and what belongs to it."""

    folder: Path
    url: str
    desk: Desk
    keys: dict[str, PrivateKeyTypes]
    issuer: DevelopmentIssuer
    instance: Instance
    entries: dict[str, Entry] = field(default_factory=dict)

    # publishing ------------------------------------------------------------------------

    def signing_instance(self) -> SigningInstance:
        """The private Sigstore as a signer knows it."""
        base = "trust/sigstore/private"
        get = self.desk.repository.target
        return SigningInstance(
            name="private",
            trusted_root=get(f"{base}/trusted_root.json") or b"",
            signing_config=get(f"{base}/signing_config.json") or b"",
        )

    def release(
        self,
        name: str = "echo",
        version: str = "1.0.0",
        source: bytes = ECHO_SERVER,
        permissions: Permissions | None = None,
    ) -> Release:
        """Make, lock and capture a server whose code is `source`."""
        work = self.folder / f"{name}-{version}"
        work.mkdir(exist_ok=True)
        files = {f"{name}_server/__init__.py": b"", f"{name}_server/main.py": source}
        wheel = write_wheel(
            work,
            f"{name}-server",
            version,
            files,
            scripts={f"{name}-server": f"{name}_server.main:main"},
        )
        lock = write_lock({(f"{name}-server", version): wheel})
        cache = FetchSettings(self.folder / "packages", registry=None)
        (cache.cache / sha256(wheel.read_bytes())).write_bytes(wheel.read_bytes())
        asked = permissions or Permissions()
        package = ReleasePackage(
            registry_type="pypi", identifier=f"{name}-server", version=version, platforms=(),
            closure=Closure(media_type="application/vnd.mcps.closure.pylock.v1+toml",
                            sha256=sha256(lock), size=len(lock)),
            run=Run(kind="entryPoint", target=f"{name}-server"), runtime="python",
            runtime_requirement=">=3.11",
        )  # fmt: skip
        tools = capture(package, PythonClosure.parse(lock), asked, cache, lambda _text: None)
        server = {"name": f"{NAMESPACE}/{name}", "description": f"Says {name}", "version": version}
        statement = ReleaseStatement(
            origin="publisher", upstream=None, server=ServerJson.parse(server),
            packages=(package,), permissions=asked, tools=tools,
        )  # fmt: skip
        locked = Locked(
            source=Source(kind="pypi", name=f"{name}-server", version=version),
            lock=lock,
            artifacts={wheel.name: wheel.read_bytes()},
        )
        return Release(statement=statement, locked=locked)

    def token(self, email: str = AUTHOR) -> str:
        """An identity token."""
        return self.issuer.token(email, datetime.now(UTC))

    def sign(self, release: Release, email: str = AUTHOR) -> bytes:
        """A bundle over a release."""
        return sign_release(release.statement, self.signing_instance(), self.token(email))[0]

    def submit(self, release: Release, email: str = AUTHOR) -> dict[str, Any]:
        """Sign and submit."""
        bundle = self.sign(release, email)
        return self.desk.submit(release.submission(bundle), datetime.now(UTC))

    # reviewing -------------------------------------------------------------------------

    def draft(
        self, release: Release, item: dict[str, Any], revision: int = 1, **choices: Any
    ) -> Entry:
        """The entry for a submission."""
        defaults: dict[str, Any] = {
            "grant": release.statement.permissions,
            "tools": {"echo": ToolRule(tool_class="read", approval="none"),
                      "delete": ToolRule(tool_class="destructive", approval="user")},
            "withheld": frozenset({"hidden"}),
            "tier": "low",
        }  # fmt: skip
        return draft_entry(
            release.statement, release=Sha256(item["release"]),
            bundle=(Sha256(item["bundleSha256"]), item["bundleSize"]),
            identity=self.identity(), revision=revision,
            artifacts=Artifacts(index="tests", matched=0, unmatched=()),
            allow_unindexed=frozenset(), notes="", now=datetime.now(UTC), **{**defaults, **choices},
        )  # fmt: skip

    def identity(self, email: str = AUTHOR) -> PublisherIdentity:
        """Who must have signed."""
        return PublisherIdentity(instance="private", issuer=self.issuer.issuer.url, subject=email)

    def envelope(self, entry: Entry, key: str = "approver-alice") -> dict[str, Any]:
        """An approval."""
        now = datetime.now(UTC).replace(microsecond=0)
        statement = ApprovalStatement(
            path=entry.path, digest=entry.approved_digest, time=now, comment=""
        )
        return sign_approval(statement, signer(self.keys[key]))

    def approve(self, entry: Entry) -> Entry:
        """Approve and publish; gives the entry as published."""
        self.desk.approve(entry.to_bytes(), self.envelope(entry), datetime.now(UTC))
        return Entry.parse(self.desk.repository.target(str(entry.path)) or b"")

    def allow(self, alias: str, path: EntryPath, digest: Sha256 | None = None,
              tighten: Tightening | None = None) -> None:  # fmt: skip
        """Put an entry on the team's allow-list."""
        data = self.desk.repository.target(str(path)) or b""
        target = allow_list_path(TEAM)
        old = AllowList.parse(self.desk.repository.target(target) or b"")
        allowed = Allowed(
            entry=path, sha256=digest or sha256(data), tighten=tighten or Tightening()
        )
        new = AllowList(
            team=TEAM, platforms=old.platforms, aliases={**old.aliases, Alias(alias): allowed}
        )
        self.publish_role(team_role(TEAM), {target: new.to_bytes()})

    def revoke(self, kind: Kind, match: str) -> str:
        """Revoke; gives the id."""
        path = "revoked/list.json"
        old = Revocations.parse(self.desk.repository.target(path) or b"")
        now = datetime.now(UTC).replace(microsecond=0)
        identity = f"test-{len(old.revocations):08d}"
        revocation = Revocation(
            id=identity,
            kind=kind,
            match=match,
            reason="a test",
            since=datetime(1970, 1, 1, tzinfo=UTC),
            time=now,
        )
        data = Revocations(revocations=(*old.revocations, revocation)).to_bytes()
        self.publish_role("revoked", {path: data})
        return identity

    def publish_role(self, role: str, files: dict[str, bytes], *keys: str) -> None:
        """Sign the next version of a role and hand it in."""
        now = datetime.now(UTC)
        signers = [signer(self.keys[key]) for key in keys or (role,)]
        data = next_version(role, self.desk.repository.role(role), signers, now, files=files)
        self.desk.accept_roles({role: data}, files, now)

    def serve(self, alias: str, source: bytes = ECHO_SERVER, **choices: Any) -> Entry:
        """Publish, approve and allow a server under `alias`; once for each alias."""
        if alias not in self.entries:
            release = self.release(alias, source=source, permissions=choices.pop("asks", None))
            self.vet(alias, release, **choices)
        return self.entries[alias]

    def vet(self, alias: str, release: Release, **choices: Any) -> Entry:
        """Submit, approve and allow a release under `alias`."""
        entry = self.approve(self.draft(release, self.submit(release), **choices))
        self.allow(alias, entry.path)
        self.entries[alias] = entry
        return entry

    # hosts -----------------------------------------------------------------------------

    def host(self, name: str, *, development: bool = True, team: TeamId = TEAM) -> Host:
        """A fresh host, enrolled."""
        places = Places.find(self.folder / "hosts" / name)
        root = (self.desk.folder.public / "metadata" / "1.root.json").read_bytes()
        Enrolment(registry=self.url, team=team, development=development, root=root).write(places)
        return Host(self, places)


def make_world(folder: Path, **choices: Any) -> tuple[World, Callable[[], None]]:
    """A registry of its own; gives it and what ends it."""
    url = f"http://127.0.0.1:{free_port()}"
    configuration = RegistryConfiguration(name="DEVELOPMENT test", url=url, development=True)
    ceremony.begin(
        RegistryFolder(folder / "registry"), configuration,
        approvers=choices.get("approvers", ["alice"]),
        approval_threshold=choices.get("threshold", 1), root_keys=2, root_threshold=1, bins=2,
        passphrase=lambda _holder: PASSPHRASE, now=datetime.now(UTC),
    )  # fmt: skip
    world, end = open_world(folder)
    world.desk.allow_namespace(NAMESPACE, world.identity())
    _make_team(world)
    return world, end


def open_world(folder: Path) -> tuple[World, Callable[[], None]]:
    """Serve a registry that was made before, at its own address; gives it and what ends it."""
    place = RegistryFolder(folder / "registry")
    desk = open_desk(place, lambda: PASSPHRASE)
    configuration = desk.configuration
    url = configuration.url
    keys = {path.stem: find_key(path, path.stem).open(PASSPHRASE)
            for path in place.keys.glob("*/*.json")}  # fmt: skip
    certs = {name: x509.load_pem_x509_certificate((place.sigstore / f"{name}.pem").read_bytes())
             for name in ("ca", "tsa-ca", "tsa")}  # fmt: skip
    instance = open_instance(place.sigstore, configuration.log_origin, keys, certs)
    oidc = keys["oidc"]
    assert isinstance(oidc, ec.EllipticCurvePrivateKey)
    issuer = DevelopmentIssuer(f"{url}/sigstore/oidc", oidc)
    tokens = TokenChecker({}, HttpSettings())
    tokens.add_local(issuer.issuer, issuer.keys())
    app = make_application(desk, sigstore_routes(instance, tokens, issuer))
    port = int(url.rpartition(":")[2])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    world = World(folder=folder, url=url, desk=desk, keys=keys, issuer=issuer, instance=instance)

    def end() -> None:
        server.should_exit = True
        thread.join(10)

    return world, end


def _make_team(world: World) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    world.keys[team_role(TEAM)] = private
    own = signer(private)
    path = allow_list_path(TEAM)
    data = AllowList(team=TEAM, platforms=("linux/x86_64",)).to_bytes()

    def delegate(signed: Targets) -> None:
        assert signed.delegations is not None and signed.delegations.roles is not None
        signed.delegations.keys[own.public_key.keyid] = own.public_key
        signed.delegations.roles[team_role(TEAM)] = team_delegation(TEAM, [own.public_key.keyid], 1)

    now = datetime.now(UTC)
    roles = {
        "teams": next_version("teams", world.desk.repository.role("teams"),
                              [signer(world.keys["teams"])], now, change=delegate),
        team_role(TEAM): next_version(team_role(TEAM), None, [own], now, files={path: data}),
    }  # fmt: skip
    world.desk.accept_roles(roles, {path: data}, now)


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def remove(folder: Path) -> None:
    """Remove a folder whose store is read-only."""
    for place, _, _ in os.walk(folder):
        os.chmod(place, 0o700)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The registry that most tests share; they add to it and take nothing away."""
    folder = tmp_path_factory.mktemp("world")
    made, end = make_world(folder)
    yield made
    end()
    remove(folder)


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """A registry for one test, which may break it."""
    made, end = make_world(tmp_path)
    yield made
    end()
    remove(tmp_path)


@pytest.fixture
def host(world: World, request: pytest.FixtureRequest) -> Host:
    """A fresh host of the shared registry."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)[:60]
    return world.host(f"{name}-{time.monotonic_ns()}")
