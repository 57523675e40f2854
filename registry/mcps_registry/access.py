"""A registry, from its own host or from another machine.

`approve`, `team` and `revoke` read what is published, sign with a key that only their
user has, and hand the signed result in. Where the registry is does not matter to them.

A registry that is far away may be lying. What its targets say is verified from root metadata
that the user holds; what is to be signed again must have been signed by the same key
(`mcps_registry.own_target`); the rest is only shown, or checked by whoever receives it.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from mcps_registry.configuration import RegistryFolder
from mcps_registry.desk import Desk, open_desk
from mcps_trust.errors import McpsError, UnavailableError, UsageError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.identity import PublisherIdentity, SignerIdentity
from mcps_trust.model.names import blob_path
from mcps_trust.registry_answer import read_answer
from mcps_trust.tuf.client import TargetMissingError, open_registry

__all__ = ["Access", "LocalAccess", "NoRootError", "RemoteAccess", "open_access"]

_LIMIT = 256 * 1024 * 1024  # bytes
_MOST_ROOTS = 1000


class NoRootError(UsageError):
    """What a far registry trusts cannot be verified without its root metadata."""

    code = "no-registry-root"
    advice = "give --registry-root FILE: root metadata that you have from somebody you trust"


class Access(Protocol):
    """What the review commands need of a registry.

    Attributes:
        index_pypi, index_npm: the package indexes that it is configured to compare with;
            empty means this machine's.
    """

    index_pypi: str
    index_npm: str

    def role(self, role: str) -> bytes | None:
        """The newest metadata of a role."""
        ...

    def target(self, path: str) -> bytes | None:
        """The present content of a target, verified."""
        ...

    def file(self, path: str, digest: Sha256) -> bytes:
        """The content of a target that has that digest."""
        ...

    def submissions(self) -> list[dict[str, Any]]:
        """The queue."""
        ...

    def submission(self, release: str) -> dict[str, Any]:
        """One of the queue."""
        ...

    def blob(self, digest: Sha256) -> bytes:
        """A bundle, lock or artefact."""
        ...

    def approve(self, entry: bytes, envelope: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Hand an approval in."""
        ...

    def accept_roles(
        self, roles: Mapping[str, bytes], files: Mapping[str, bytes], now: datetime
    ) -> None:
        """Hand signed roles in."""
        ...


class LocalAccess:
    """The registry in a folder of this machine."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.index_pypi = desk.configuration.index_pypi
        self.index_npm = desk.configuration.index_npm
        self.submissions = desk.submissions
        self.submission = desk.submission
        self.blob = desk.blobs.get
        self.accept_roles = desk.accept_roles

    def role(self, role: str) -> bytes | None:
        """The newest metadata of a role."""
        return self._desk.repository.role(role)

    def target(self, path: str) -> bytes | None:
        """The present content of a target."""
        return self._desk.repository.target(path)

    def file(self, path: str, digest: Sha256) -> bytes:
        """The content of a target that has that digest."""
        return self._desk.repository.file(path, digest)

    def approve(self, entry: bytes, envelope: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Hand an approval in."""
        return self._desk.approve(entry, envelope, now).to_dict()


class RemoteAccess:
    """The registry at a URL; `root` is root metadata from which its targets are verified.

    What it says of package indexes is not asked for: it may be lying.
    """

    index_pypi = index_npm = ""

    def __init__(self, url: str, root: bytes | None, http: Http) -> None:
        self._url = url.rstrip("/")
        self._root = root
        self._http = http

    def role(self, role: str) -> bytes | None:
        """The newest metadata of a role, found by way of timestamp and snapshot; not verified."""
        timestamp = self._metadata("timestamp.json")
        if timestamp is None or role == "timestamp":
            return timestamp
        if role == "root":
            return self._newest_root()
        snapshot = self._metadata(f"{_version(timestamp, 'snapshot')}.snapshot.json")
        if snapshot is None or role == "snapshot":
            return snapshot
        version = _version(snapshot, role)
        return None if version is None else self._metadata(f"{version}.{role}.json")

    def target(self, path: str) -> bytes | None:
        """The present content of a target, verified from the root on.

        Raises:
            NoRootError: there is no root to verify it from.
            McpsError: the registry's metadata does not verify.
        """
        if self._root is None:
            raise NoRootError("what this registry trusts cannot be verified", found=path)
        with (
            tempfile.TemporaryDirectory(prefix="mcps-registry-") as folder,
            open_registry(Path(folder), self._url, self._root, self._http) as registry,
        ):
            registry.refresh()
            try:
                return registry.target(path)
            except TargetMissingError:
                return None

    def file(self, path: str, digest: Sha256) -> bytes:
        """The content of a target that has that digest.

        Raises:
            UnavailableError: the registry does not have it.
        """
        folder, _, name = path.rpartition("/")
        return self._file(f"targets/{folder}/{digest}.{name}", digest)

    def submissions(self) -> list[dict[str, Any]]:
        """The queue."""
        answer = Fields(self._call("GET", "/api/v1/submissions"), "the registry's answer")
        return [_record(fields) for fields in answer.objects("submissions")]

    def submission(self, release: str) -> dict[str, Any]:
        """One of the queue."""
        answer = self._call("GET", f"/api/v1/submissions/{quote(release)}")
        return _record(Fields(answer, "the registry's answer"))

    def blob(self, digest: Sha256) -> bytes:
        """A bundle, lock or artefact."""
        return self._file(blob_path(digest), digest)

    def approve(self, entry: bytes, envelope: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Hand an approval in."""
        del now  # the registry's own clock decides
        answer = self._call(
            "POST", "/api/v1/approvals", {"entry": entry.decode(), "envelope": dict(envelope)}
        )
        fields = Fields(answer, "the registry's answer")
        for read, key in (
            (fields.text, "path"), (fields.texts, "approvedBy"), (fields.integer, "threshold"),
            (fields.boolean, "published"),
        ):  # fmt: skip
            read(key)
        return answer

    def accept_roles(
        self, roles: Mapping[str, bytes], files: Mapping[str, bytes], now: datetime
    ) -> None:
        """Hand signed roles in."""
        del now
        encoded = {
            key: {name: base64.b64encode(data).decode() for name, data in part.items()}
            for key, part in (("roles", roles), ("files", files))
        }
        self._call("POST", "/api/v1/roles", encoded)

    def _file(self, path: str, digest: Sha256) -> bytes:
        answer = self._http.get(f"{self._url}/{path}", limit=_LIMIT)
        if answer.status != 200 or sha256(answer.body) != digest:
            raise UnavailableError(
                "the registry does not have a file that it names",
                expected=digest,
                found=f"status {answer.status}",
            )
        return answer.body

    def _newest_root(self) -> bytes | None:
        """The last of the roots, which follow one another (TUF specification §5.3)."""
        newest, version = None, 1
        while version <= _MOST_ROOTS and (data := self._metadata(f"{version}.root.json")):
            newest, version = data, version + 1
        return newest

    def _metadata(self, name: str) -> bytes | None:
        answer = self._http.get(f"{self._url}/metadata/{name}", limit=_LIMIT)
        return answer.body if answer.status == 200 else None

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        answer = self._http.request(
            method, self._url + path, limit=_LIMIT, body=data, headers=headers
        )
        return read_answer(answer)


@contextmanager
def open_access(
    where: str, root: bytes | None, passphrase: Callable[[], bytes]
) -> Iterator[Access]:
    """The registry at a URL or in a folder, for the length of a ``with`` block.

    Args:
        where: ``http(s)://…`` or a path.
        root: root metadata to verify a registry at a URL from.
        passphrase: of the online keys, if it is a folder.

    Raises:
        NotARegistryError: the folder holds none.
    """
    if where.startswith(("http://", "https://")):
        with Http(HttpSettings()) as http:
            yield RemoteAccess(where, root, http)
    else:
        yield LocalAccess(open_desk(RegistryFolder(Path(where)), passphrase))


def _record(fields: Fields) -> dict[str, Any]:
    """One submission of the queue, as the registry tells it.

    Raises:
        UntrustedDataError: it is none.
    """
    for key in ("server", "version", "origin", "state", "submitted"):
        fields.text(key, longest=400)
    fields.digest("release")
    fields.digest("bundleSha256")
    fields.integer("bundleSize", least=1)
    PublisherIdentity.from_fields(fields.object("identity"))
    SignerIdentity.from_fields(fields.object("signer"))
    if not isinstance(fields.take("reason"), str):
        raise fields.error("reason", "a text", None)
    return dict(fields.document)


def _version(data: bytes, role: str) -> int | None:
    """The version of a role that a timestamp or snapshot names."""
    try:
        meta = strict_json.loads(data, limit=_LIMIT)["signed"]["meta"]
        return int(meta[f"{role}.json"]["version"]) if f"{role}.json" in meta else None
    except (KeyError, TypeError, ValueError, McpsError) as error:
        raise UnavailableError("this does not answer as a registry", found=str(error)) from error
