"""A registry, from its own host or from another machine.

`approve`, `team` and `revoke` read what is published, sign with a key that only their
user has, and hand the signed result in. Where the registry is does not matter to them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from tuf.api.metadata import Metadata, Targets

from mcps_registry.configuration import RegistryFolder
from mcps_registry.desk import Desk, open_desk
from mcps_trust.errors import UnavailableError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.names import blob_path
from mcps_trust.registry_answer import read_answer

__all__ = ["Access", "LocalAccess", "RemoteAccess", "open_access"]

_LIMIT = 256 * 1024 * 1024  # bytes


class Access(Protocol):
    """What the review commands need of a registry."""

    def role(self, role: str) -> bytes | None:
        """The newest metadata of a role."""
        ...

    def target(self, path: str) -> bytes | None:
        """The present content of a target."""
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
        self.role = desk.repository.role
        self.target = desk.repository.target
        self.submissions = desk.submissions
        self.submission = desk.submission
        self.blob = desk.blobs.get
        self.accept_roles = desk.accept_roles

    def approve(self, entry: bytes, envelope: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Hand an approval in."""
        return self._desk.approve(entry, envelope, now).to_dict()


class RemoteAccess:
    """The registry at a URL."""

    def __init__(self, url: str, http: Http) -> None:
        self._url = url.rstrip("/")
        self._http = http

    def role(self, role: str) -> bytes | None:
        """The newest metadata of a role, found by way of timestamp and snapshot."""
        timestamp = self._metadata("timestamp.json")
        if timestamp is None or role == "timestamp":
            return timestamp
        version = _meta(timestamp)["snapshot.json"]["version"]
        snapshot = self._metadata(f"{version}.snapshot.json")
        if snapshot is None or role == "snapshot":
            return snapshot
        version = _meta(snapshot).get(f"{role}.json", {}).get("version")
        return None if version is None else self._metadata(f"{version}.{role}.json")

    def target(self, path: str) -> bytes | None:
        """The present content of a target."""
        top = path.split("/")
        role = {"trust": "targets", "teams": f"team-{top[1]}"}.get(top[0], top[0])
        data = self.role(self._bin(path) if role == "servers" else role)
        info = {} if data is None else json.loads(data)["signed"]["targets"].get(path, {})
        digest = info.get("hashes", {}).get("sha256")
        if digest is None:
            return None
        folder, _, name = path.rpartition("/")
        answer = self._http.get(f"{self._url}/targets/{folder}/{digest}.{name}", limit=_LIMIT)
        return answer.body if answer.status == 200 and sha256(answer.body) == digest else None

    def submissions(self) -> list[dict[str, Any]]:
        """The queue."""
        return list(self._call("GET", "/api/v1/submissions")["submissions"])

    def submission(self, release: str) -> dict[str, Any]:
        """One of the queue."""
        return self._call("GET", f"/api/v1/submissions/{quote(release)}")

    def blob(self, digest: Sha256) -> bytes:
        """A bundle, lock or artefact."""
        answer = self._http.get(f"{self._url}/{blob_path(digest)}", limit=_LIMIT)
        if answer.status != 200 or sha256(answer.body) != digest:
            raise UnavailableError(
                "the registry does not have a file that it names",
                expected=digest,
                found=f"status {answer.status}",
            )
        return answer.body

    def approve(self, entry: bytes, envelope: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Hand an approval in."""
        del now  # the registry's own clock decides
        return self._call(
            "POST", "/api/v1/approvals", {"entry": entry.decode(), "envelope": dict(envelope)}
        )

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

    def _bin(self, path: str) -> str:
        catalog = self.role("catalog")
        if catalog is None:
            raise UnavailableError("this registry has no catalogue")
        delegations = Metadata[Targets].from_bytes(catalog).signed.delegations
        if delegations is None or delegations.succinct_roles is None:
            raise UnavailableError("this registry's catalogue has no bins")
        return delegations.succinct_roles.get_role_for_target(path)

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


def open_access(
    where: str, passphrase: Callable[[], bytes], settings: HttpSettings | None = None
) -> Access:
    """The registry at a URL or in a folder.

    Args:
        where: ``http(s)://…`` or a path.
        passphrase: of the online keys, if it is a folder.

    Raises:
        NotARegistryError: the folder holds none.
    """
    if where.startswith(("http://", "https://")):
        return RemoteAccess(where, Http(settings or HttpSettings()))
    return LocalAccess(open_desk(RegistryFolder(Path(where)), passphrase))


def _meta(data: bytes) -> dict[str, Any]:
    return dict(json.loads(data)["signed"]["meta"])
