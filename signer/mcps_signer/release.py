"""From a project's description to a signed release: the steps that all commands share."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mcps_launcher.install.fetch import FetchSettings
from mcps_signer.capture import capture
from mcps_signer.closure.npm import lock_npm
from mcps_signer.closure.pypi import PLATFORMS, lock_pypi
from mcps_signer.closure.source import Locked, Source
from mcps_trust.errors import ConfigurationError
from mcps_trust.model import strict_json
from mcps_trust.model.closure import Closure as AnyClosure
from mcps_trust.model.closure import parse_closure
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.index import Profile
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.server_json import ServerJson
from mcps_trust.model.statement import (
    CLOSURE_MEDIA_TYPES,
    Closure,
    ReleasePackage,
    ReleaseStatement,
    Run,
    Upstream,
)
from mcps_trust.model.submission import Submission

__all__ = ["Project", "Release", "build_release"]

PLACEHOLDER = "say in one sentence what it does"
"""What `mcps-sign init` writes where a project does not say it."""

_RUNTIMES = {"pypi": ("python", ">=3.11"), "npm": ("node", ">=18")}


class BadProjectError(ConfigurationError):
    """``mcps.toml`` or ``server.json`` is missing or not valid."""

    code = "bad-project"
    advice = "`mcps-sign init` writes a pair to start from"


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """What is released: ``mcps.toml`` and ``server.json``, or a profile of index.json."""

    source: Source
    server: ServerJson
    run: Run
    runtime: str
    permissions: Permissions
    upstream: Upstream | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``mcps.toml`` and ``server.json`` of a folder.

        Raises:
            BadProjectError: one is missing or cannot be read.
            UntrustedDataError: one is not valid.
        """
        try:
            toml = tomllib.loads((folder / "mcps.toml").read_text("utf-8"))
            server = strict_json.loads((folder / "server.json").read_bytes())
        except (OSError, ValueError) as error:
            raise BadProjectError(
                f"{folder} is not a project of mcps-sign", found=str(error)
            ) from error
        fields = Fields(toml, "mcps.toml")
        text = fields.text("source")
        is_path = not text.startswith(("pypi:", "npm:"))
        source = Source.parse(str(folder / text) if is_path else text)
        project = cls(
            source=source,
            server=ServerJson.parse(server),
            run=Run.from_fields(fields.object("run")),
            runtime=fields.optional("runtime", fields.text) or _RUNTIMES[source.kind][1],
            permissions=Permissions.from_fields(fields.object("permissions")),
        )
        fields.done()
        return project

    @classmethod
    def from_profile(cls, profile: Profile, checked: tuple[str, ...]) -> Self:
        """Somebody else's package, to be endorsed."""
        at = "==" if profile.registry_type == "pypi" else "@"
        source = Source.parse(f"{profile.registry_type}:{profile.identifier}{at}{profile.version}")
        return cls(
            source=source, server=profile.server, run=profile.run,
            runtime=_RUNTIMES[profile.registry_type][1], permissions=profile.permissions,
            upstream=Upstream(
                identity=f"{profile.registry_type}: {profile.identifier} {profile.version} "
                "(its publisher signs nothing)",
                checked=checked,
            ),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A statement that can be signed, with the files that it binds."""

    statement: ReleaseStatement
    locked: Locked

    def submission(self, bundle: bytes, extra: Mapping[Sha256, bytes] | None = None) -> Submission:
        """What is sent to a registry."""
        artifacts = {sha256(data): data for data in self.locked.artifacts.values()}
        return Submission(
            bundle=bundle,
            closures={sha256(self.locked.lock): self.locked.lock},
            artifacts={**artifacts, **(extra or {})},
        )


def lock_source(source: Source, *, before: str, index: str = "") -> Locked:
    """Lock whatever it is; see `lock_pypi` and `lock_npm`."""
    if source.kind == "npm":
        return lock_npm(source, before=before, registry=index)
    return lock_pypi(source, before=before, index=index)


def build_release(
    project: Project,
    fetch: FetchSettings,
    *,
    before: str,
    index: str = "",
    report: Callable[[str], None],
) -> Release:
    """Lock, capture, and make the statement.

    Raises:
        McpsError: one of the steps failed.
    """
    report("locking every dependency by hash")
    locked = lock_source(project.source, before=before, index=index)
    kind = locked.source.kind
    if project.server.description.endswith(PLACEHOLDER):
        report(f"note: users will read {project.server.description!r}: see server.json")
    if project.upstream is None and locked.source.version != project.server.version:
        report(
            f"note: server.json says version {project.server.version}, "
            f"the package is {locked.source.version}"
        )
    for data in locked.artifacts.values():
        (fetch.cache / sha256(data)).write_bytes(data)
    package = ReleasePackage(
        registry_type=kind,
        identifier=locked.source.name,
        version=locked.source.version,
        platforms=PLATFORMS if kind == "pypi" else (),
        closure=Closure(media_type=CLOSURE_MEDIA_TYPES[kind], sha256=sha256(locked.lock),
                        size=len(locked.lock)),
        run=project.run,
        runtime="python" if kind == "pypi" else "node",
        runtime_requirement=project.runtime,
    )  # fmt: skip
    closure = parse_lock(locked)
    tools = capture(package, closure, project.permissions, fetch, report)
    statement = ReleaseStatement(
        origin="publisher" if project.upstream is None else "endorsement",
        upstream=project.upstream,
        server=project.server,
        packages=(package,),
        permissions=project.permissions,
        tools=tools,
    )
    # What is signed is what a reader will read: refuse here what they would refuse.
    ReleaseStatement.parse(statement.to_payload())
    return Release(statement=statement, locked=locked)


def parse_lock(locked: Locked) -> AnyClosure:
    """The lock as a value."""
    return parse_closure(locked.source.kind, locked.lock)


def starter_permissions() -> dict[str, Any]:
    """Permissions that ask for nothing, for ``mcps-sign init``."""
    return Permissions().to_dict()
