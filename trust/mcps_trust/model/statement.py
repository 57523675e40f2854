"""The release statement: what a publisher signs about one version of a server.

An in-toto Statement v1 with the predicate ``urn:mcps:release:v1``; its page is
``docs/formats/release-statement.md``. Parsing ties subjects and packages together, so
that a digest cannot be vouched for in one place and used from another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.fields import FieldError, Fields
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.purl import Purl
from mcps_trust.model.server_json import ServerJson
from mcps_trust.model.tools import ToolSurface

__all__ = [
    "CLOSURE_MEDIA_TYPES",
    "IN_TOTO_PAYLOAD_TYPE",
    "PREDICATE_TYPE",
    "STATEMENT_TYPE",
    "Closure",
    "ReleasePackage",
    "ReleaseStatement",
    "Run",
    "Upstream",
]

PREDICATE_TYPE = "urn:mcps:release:v1"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
IN_TOTO_PAYLOAD_TYPE = "application/vnd.in-toto+json"

RegistryType = Literal["pypi", "npm"]
RuntimeName = Literal["python", "node"]

CLOSURE_MEDIA_TYPES: Mapping[RegistryType, str] = {
    "pypi": "application/vnd.mcps.closure.pylock.v1+toml",
    "npm": "application/vnd.mcps.closure.package-lock.v3+json",
}
MAX_STATEMENT = 4 * 1024 * 1024  # bytes
MAX_CLOSURE = 16 * 1024 * 1024  # bytes

_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_SCRIPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ARGUMENT = re.compile(r"[^\x00-\x1f\x7f]{1,1000}")
# The plain part of PEP 440 specifiers, which packaging reads the same way.
_REQUIREMENT = re.compile(
    r"(?:>=|<=|==|!=|>|<|~=)\d+(?:\.\d+){0,3}(?:,(?:>=|<=|==|!=|>|<|~=)\d+(?:\.\d+){0,3})*"
)
_TEMPLATE = re.compile(r"\$\{([^}]*)\}")
_TEMPLATE_NAME = re.compile(r"mounts\.[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Closure:
    """A lock file, by the digest of its bytes."""

    media_type: str
    sha256: Sha256
    size: int

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        closure = cls(
            media_type=fields.choice("mediaType", tuple(CLOSURE_MEDIA_TYPES.values())),
            sha256=fields.digest("sha256"),
            size=fields.integer("size", least=1, most=MAX_CLOSURE),
        )
        fields.done()
        return closure

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {"mediaType": self.media_type, "sha256": self.sha256, "size": self.size}


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What of the closure is started: a script, a module or a bin, and its arguments.

    Arguments may hold ``${mounts.NAME}``, which stands for a mount's target.
    """

    kind: Literal["entryPoint", "module", "bin"]
    target: str
    arguments: tuple[str, ...] = ()

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        kinds: tuple[Literal["entryPoint", "module", "bin"], ...] = ("entryPoint", "module", "bin")
        named = [kind for kind in kinds if kind in fields.document]
        if len(named) != 1:
            raise FieldError(
                f"{fields.where} names not exactly one thing to run",
                expected="one of entryPoint, module, bin",
                found=str(named),
            )
        kind = named[0]
        run = cls(
            kind=kind,
            target=fields.text(kind, pattern=_MODULE if kind == "module" else _SCRIPT),
            arguments=fields.texts("arguments", pattern=_ARGUMENT),
        )
        for argument in run.arguments:
            for name in _TEMPLATE.findall(argument):
                if not _TEMPLATE_NAME.fullmatch(name):
                    raise fields.error("arguments", "templates such as ${mounts.data}", argument)
        fields.done()
        return run

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {self.kind: self.target, "arguments": list(self.arguments)}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasePackage:
    """One way to run the release: a package with its closure."""

    registry_type: RegistryType
    identifier: str
    version: str
    platforms: tuple[str, ...]
    closure: Closure
    run: Run
    runtime: RuntimeName
    runtime_requirement: str

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        registry_type: RegistryType = fields.choice("registryType", ("pypi", "npm"))
        runtime: RuntimeName = "python" if registry_type == "pypi" else "node"
        runtimes = fields.object("runtime")
        package = cls(
            registry_type=registry_type,
            identifier=fields.text("identifier", longest=214),
            version=fields.text("version", longest=100),
            platforms=fields.texts("platforms", pattern=re.compile(r"[a-z0-9_]+/[a-z0-9_]+")),
            closure=Closure.from_fields(fields.object("closure")),
            run=Run.from_fields(fields.object("run")),
            runtime=runtime,
            runtime_requirement=runtimes.text(runtime, longest=100, pattern=_REQUIREMENT),
        )
        runtimes.done()
        if package.closure.media_type != CLOSURE_MEDIA_TYPES[registry_type]:
            raise fields.error(
                "closure", CLOSURE_MEDIA_TYPES[registry_type], package.closure.media_type
            )
        if (package.run.kind == "bin") != (registry_type == "npm"):
            raise fields.error(
                "run", "bin for npm, entryPoint or module for pypi", package.run.kind
            )
        fields.done()
        return package

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "registryType": self.registry_type,
            "identifier": self.identifier,
            "version": self.version,
            "platforms": list(self.platforms),
            "closure": self.closure.to_dict(),
            "run": self.run.to_dict(),
            "runtime": {self.runtime: self.runtime_requirement},
        }

    @property
    def purl(self) -> Purl:
        """The package URL, which is also the subject's name."""
        return Purl(self.registry_type, self.identifier, self.version, self.platforms)


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """Of an endorsement: whose package it is, and what was checked before signing."""

    identity: str
    checked: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseStatement:
    """A valid release statement."""

    origin: Literal["publisher", "endorsement"]
    upstream: Upstream | None
    server: ServerJson
    packages: tuple[ReleasePackage, ...]
    permissions: Permissions
    tools: ToolSurface

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read a DSSE payload.

        Raises:
            FieldError: it is not a release statement, or its parts contradict each other.
            UntrustedDataError: it is not strict JSON, or a part is not valid.
        """
        fields = Fields(strict_json.loads(payload, limit=MAX_STATEMENT), "statement")
        fields.choice("_type", (STATEMENT_TYPE,))
        fields.choice("predicateType", (PREDICATE_TYPE,))
        subjects = tuple(_subject(item) for item in fields.objects("subject"))
        statement = cls._from_predicate(fields.object("predicate"))
        fields.done()
        expected = tuple((str(p.purl), p.closure.sha256) for p in statement.packages)
        if subjects != expected:
            raise fields.error("subject", f"one for each package, in order: {expected}", subjects)
        return statement

    @classmethod
    def _from_predicate(cls, fields: Fields) -> Self:
        origin: Literal["publisher", "endorsement"] = fields.choice(
            "origin", ("publisher", "endorsement")
        )
        upstream = fields.optional("upstream", lambda key: _upstream(fields.object(key)))
        if (upstream is not None) != (origin == "endorsement"):
            raise fields.error("upstream", "given for an endorsement, and only then", origin)
        statement = cls(
            origin=origin,
            upstream=upstream,
            server=ServerJson.parse(fields.take("server")),
            packages=tuple(ReleasePackage.from_fields(item) for item in fields.objects("packages")),
            permissions=Permissions.from_fields(fields.object("permissions")),
            tools=ToolSurface.from_fields(fields.object("tools")),
        )
        fields.done()
        if not statement.packages:
            raise fields.error("packages", "at least one", [])
        mounts = {mount.name for mount in statement.permissions.mounts}
        for package in statement.packages:
            for name in _TEMPLATE.findall(" ".join(package.run.arguments)):
                if name.removeprefix("mounts.") not in mounts:
                    raise fields.error(
                        "packages", f"a mount for the template {name!r}", sorted(mounts)
                    )
        return statement

    def to_dict(self) -> dict[str, Any]:
        """The whole in-toto Statement."""
        upstream = (
            {}
            if self.upstream is None
            else {
                "upstream": {
                    "identity": self.upstream.identity,
                    "checked": list(self.upstream.checked),
                }
            }
        )
        return {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": str(package.purl), "digest": {"sha256": package.closure.sha256}}
                for package in self.packages
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "origin": self.origin,
                **upstream,
                "server": self.server.to_dict(),
                "packages": [package.to_dict() for package in self.packages],
                "permissions": self.permissions.to_dict(),
                "tools": self.tools.to_dict(),
            },
        }

    def to_payload(self) -> bytes:
        """The bytes that get signed; `release_digest` is over them."""
        return strict_json.dumps(self.to_dict())


def release_digest(payload: bytes) -> Sha256:
    """The name of a release: SHA-256 over the DSSE payload."""
    return sha256(payload)


def _subject(fields: Fields) -> tuple[str, Sha256]:
    name = str(Purl.parse(fields.text("name")))
    digests = fields.object("digest")
    digest = digests.digest("sha256")
    digests.done()
    fields.done()
    return name, digest


def _upstream(fields: Fields) -> Upstream:
    upstream = Upstream(
        identity=fields.text("identity", longest=1000), checked=fields.texts("checked")
    )
    if not upstream.checked:
        raise fields.error("checked", "what was checked", [])
    fields.done()
    return upstream
