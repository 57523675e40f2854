"""The TUF repository: accept signed roles, sign the online ones, publish all of it.

Publishing has two halves. `_commit` allocates versions and stores every byte in one
transaction; `materialise` writes what is stored into the folder that is served, in the
order files → roles → snapshot → timestamp, creating files only and replacing nothing but
the timestamp. A crash before the first half's end changes nothing; after it, `materialise`
runs again and finishes. No client ever sees a timestamp whose files are not all there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from mcps_registry.lanes.content import check_content
from mcps_registry.lanes.roles import delegator_of, expiry, is_bin, may_sign
from mcps_registry.store.database import reading, tables, writing
from mcps_trust.clock import format_time
from mcps_trust.errors import NotPermittedError, UntrustedDataError
from mcps_trust.locked_file import exclusive, make_private_directory, write_atomically
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.names import parse_segment

__all__ = ["ISSUED_FIELD", "Repository", "RoleRefusedError", "VersionConflictError"]

ISSUED_FIELD = "x-mcps-issued"
_DELEGATORS = frozenset({"targets", "teams", "catalog"})
_SERIALIZER = JSONSerializer(compact=True)


class RoleRefusedError(NotPermittedError):
    """A role is not signed by those who may sign it, or does not fit."""

    code = "role-refused"


class VersionConflictError(NotPermittedError):
    """Somebody else published in between."""

    code = "version-conflict"
    advice = "run the command again: it starts from the newest state"


class BadRoleError(UntrustedDataError):
    """What was handed in is not TUF metadata of that role."""

    code = "bad-role"


@dataclass
class _Changes:
    """What one publication adds."""

    roles: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, role: str, version: int, data: bytes) -> None:
        self.roles[role] = data
        self.versions[role] = version


class Repository:
    """One repository: its database, the folder that is served, and the online signers."""

    def __init__(
        self,
        engine: sa.Engine,
        public: Path,
        lock: Path,
        signers: Callable[[str], Signer],
    ) -> None:
        """Args: `signers` gives the online signer for bins, snapshot or timestamp."""
        self._engine = engine
        self._public = public
        self._lock = lock
        self._signers = signers

    # reading ---------------------------------------------------------------------------

    def role(self, role: str) -> bytes | None:
        """The newest metadata of a role."""
        query = (
            sa.select(tables.roles.c.data)
            .where(tables.roles.c.role == role)
            .order_by(tables.roles.c.version.desc())
            .limit(1)
        )
        with reading(self._engine) as connection:
            return connection.execute(query).scalar()

    def target(self, path: str) -> bytes | None:
        """The present content of a target."""
        info = self._target_info(path)
        return None if info is None else self.file(path, Sha256(info.hashes["sha256"]))

    def file(self, path: str, digest: Sha256) -> bytes:
        """The content of a target that has that digest.

        Raises:
            RoleRefusedError: there is none.
        """
        query = sa.select(tables.files.c.data).where(
            tables.files.c.path == path, tables.files.c.sha256 == digest
        )
        with reading(self._engine) as connection:
            data: bytes | None = connection.execute(query).scalar()
        if data is None:
            raise RoleRefusedError(f"the registry does not have {path}", expected=digest)
        return data

    def targets(self, role: str) -> Targets:
        """The newest content of a targets role.

        Raises:
            RoleRefusedError: there is no such role.
        """
        data = self.role(role)
        if data is None:
            raise RoleRefusedError(f"there is no role {role}")
        return Metadata[Targets].from_bytes(data).signed

    def team_roles(self) -> list[str]:
        """The roles of all teams, sorted."""
        return sorted(role for role in self._roles() if role.startswith("team-"))

    def bin_of(self, path: str) -> str:
        """The catalogue bin that an entry's path falls into."""
        delegations = self.targets("catalog").delegations
        if delegations is None or delegations.succinct_roles is None:
            msg = "the catalogue delegates to bins by construction"
            raise RuntimeError(msg)
        succinct: SuccinctRoles = delegations.succinct_roles
        return succinct.get_role_for_target(path)

    # writing ---------------------------------------------------------------------------

    def accept(self, roles: Mapping[str, bytes], files: Mapping[str, bytes], now: datetime) -> None:
        """Publish roles that others have signed, with the files that they are about.

        Raises:
            RoleRefusedError: wrong or too few signatures, expired, or a file does not fit.
            VersionConflictError: the version is not the next one.
            UntrustedDataError: metadata or files are malformed.
        """
        if not roles:
            raise RoleRefusedError("nothing was handed in")
        with exclusive(self._lock):
            changes = _Changes(files=dict(files))
            named: set[str] = set()
            for role, data in roles.items():
                if is_bin(role) or role in ("snapshot", "timestamp"):
                    raise RoleRefusedError(f"{role} is signed by the registry itself", found=role)
                metadata = self._check_role(role, data, roles, files, now)
                changes.add(role, metadata.signed.version, data)
                if isinstance(metadata.signed, Targets):
                    named |= metadata.signed.targets.keys()
            stray = sorted(files.keys() - named)
            if stray:
                raise RoleRefusedError("a file was handed in that no role names", found=stray[0])
            self._commit(changes, now)

    def put_entry(self, path: str, data: bytes, now: datetime) -> None:
        """Publish an entry in its bin.

        Raises:
            RoleRefusedError: there is one at that path already; entries never change.
            UntrustedDataError: it is no valid entry.
        """
        with exclusive(self._lock):
            if self._target_info(path) is not None:
                raise RoleRefusedError(
                    f"there is already an entry at {path}",
                    remedy="a change is a new revision: --revision N, one more than the newest",
                )
            check_content(path, data, None)
            role = self.bin_of(path)
            signed = self.targets(role)
            signed.targets[path] = TargetFile.from_data(path, data, ["sha256"])
            changes = _Changes(files={path: data})
            self._resign(changes, role, signed, now)
            self._commit(changes, now)

    def refresh(self, now: datetime) -> None:
        """Sign the timestamp again, and with it whatever of the online roles ends soon."""
        with exclusive(self._lock):
            changes = _Changes()
            for role in self._roles():
                if is_bin(role):
                    signed = self.targets(role)
                    if signed.expires - now < (expiry(role, now) - now) / 2:
                        self._resign(changes, role, signed, now)
            self._commit(changes, now)

    def materialise(self) -> None:
        """Write into the served folder what the database has and the folder has not."""
        metadata = make_private_directory(self._public / "metadata", mode=0o755)
        with reading(self._engine) as connection:
            names = sa.select(tables.files.c.path, tables.files.c.sha256)
            for path, digest in connection.execute(names).all():
                folder, _, name = path.rpartition("/")
                place = self._public / "targets" / folder / f"{digest}.{name}"
                if not place.exists():
                    make_private_directory(place.parent, mode=0o755)
                    query = sa.select(tables.files.c.data).where(
                        tables.files.c.path == path, tables.files.c.sha256 == digest
                    )
                    write_atomically(place, connection.execute(query).scalar_one(), mode=0o644)
            versions = sa.select(tables.roles.c.role, tables.roles.c.version).where(
                tables.roles.c.role != "timestamp"
            )
            for role, version in connection.execute(versions).all():
                place = metadata / f"{version}.{role}.json"
                if not place.exists():
                    query = sa.select(tables.roles.c.data).where(
                        tables.roles.c.role == role, tables.roles.c.version == version
                    )
                    write_atomically(place, connection.execute(query).scalar_one(), mode=0o644)
        timestamp = self.role("timestamp")
        if timestamp is not None:
            write_atomically(metadata / "timestamp.json", timestamp, mode=0o644)

    def begin(self, roles: Mapping[str, bytes], files: Mapping[str, bytes], now: datetime) -> None:
        """The first publication of a new repository, whose keys the caller has just made."""
        with exclusive(self._lock):
            changes = _Changes(files=dict(files))
            for role, data in roles.items():
                changes.add(role, 1, data)
            self._commit(changes, now)

    # how -------------------------------------------------------------------------------

    def _check_role(
        self,
        role: str,
        data: bytes,
        roles: Mapping[str, bytes],
        files: Mapping[str, bytes],
        now: datetime,
    ) -> Metadata[Root] | Metadata[Targets]:
        new = _parse(role, data)
        old_data = self.role(role)
        old = None if old_data is None else _parse(role, old_data)
        delegator_name = delegator_of(role)
        delegator_data = (
            old_data if role == "root" else roles.get(delegator_name, self.role(delegator_name))
        )
        if delegator_data is None:
            raise RoleRefusedError(f"nobody delegates to {role}")
        try:
            delegator = _parse(delegator_name, delegator_data)
            delegator.verify_delegate(role, new)
            if role == "root":
                new.verify_delegate(role, new)
        except (RepositoryError, ValueError) as error:
            raise RoleRefusedError(
                f"{role} is not signed by those who may sign it", found=str(error)
            ) from error
        expected = 1 if old is None else old.signed.version + 1
        if new.signed.version != expected:
            raise VersionConflictError(
                f"{role} is not the next version",
                expected=str(expected),
                found=str(new.signed.version),
            )
        if new.signed.expires <= now:
            raise RoleRefusedError(
                f"{role} has expired already", found=format_time(new.signed.expires)
            )
        if isinstance(new.signed, Targets):
            if new.signed.delegations is not None and role not in _DELEGATORS:
                raise RoleRefusedError(f"{role} may not delegate to anybody")
            self._check_files(role, new.signed, files)
        return new

    def _check_files(self, role: str, signed: Targets, files: Mapping[str, bytes]) -> None:
        for path, info in signed.targets.items():
            data = files.get(path)
            if data is None:
                old = self._target_info(path)
                if old is None or old.hashes != info.hashes:
                    raise RoleRefusedError(f"{role} names {path}, which was not handed in")
                continue
            if info.hashes.get("sha256") != sha256(data) or info.length != len(data):
                raise RoleRefusedError(
                    f"{role} does not name these bytes of {path}",
                    expected=str(info.hashes),
                    found=sha256(data),
                )
            if not may_sign(role, path):
                raise RoleRefusedError(f"{role} may not sign {path}")
            check_content(path, data, self.target(path))

    def _resign(self, changes: _Changes, role: str, signed: Targets, now: datetime) -> None:
        signed.version += 1
        signed.expires = expiry(role, now)
        metadata = Metadata(signed)
        metadata.sign(self._signers("bins"))
        changes.add(role, signed.version, metadata.to_bytes(_SERIALIZER))

    def _commit(self, changes: _Changes, now: datetime) -> None:
        for path in changes.files:
            for segment in path.split("/"):
                parse_segment(segment, "part of a target's path")
        self._add_snapshot(changes, now)
        with writing(self._engine) as connection:
            for path, data in changes.files.items():
                connection.execute(
                    sa.insert(tables.files).prefix_with("OR IGNORE", dialect="sqlite"),
                    {"path": path, "sha256": sha256(data), "data": data},
                )
            for role, data in changes.roles.items():
                connection.execute(
                    sa.insert(tables.roles),
                    {"role": role, "version": changes.versions[role], "data": data},
                )
        self.materialise()

    def _add_snapshot(self, changes: _Changes, now: datetime) -> None:
        old_snapshot = self.role("snapshot")
        old_timestamp = self.role("timestamp")
        snapshot = (
            Metadata[Snapshot].from_bytes(old_snapshot).signed if old_snapshot else Snapshot()
        )
        timestamp = (
            Metadata[Timestamp].from_bytes(old_timestamp).signed if old_timestamp else Timestamp()
        )
        data = old_snapshot
        ends_soon = snapshot.expires - now < (expiry("snapshot", now) - now) / 2
        if changes.roles or ends_soon or data is None:
            snapshot.version += 1 if old_snapshot else 0
            snapshot.expires = expiry("snapshot", now)
            for role, version in changes.versions.items():
                if role != "root":
                    # No role ever leaves: clients that saw it would refuse what comes after.
                    snapshot.meta[f"{role}.json"] = MetaFile(version=version)
            metadata = Metadata(snapshot)
            metadata.sign(self._signers("snapshot"))
            data = metadata.to_bytes(_SERIALIZER)
            changes.add("snapshot", snapshot.version, data)
        timestamp.version += 1 if old_timestamp else 0
        timestamp.expires = expiry("timestamp", now)
        timestamp.snapshot_meta = MetaFile(
            version=snapshot.version, length=len(data), hashes={"sha256": sha256(data)}
        )
        timestamp.unrecognized_fields[ISSUED_FIELD] = format_time(now)
        signed = Metadata(timestamp)
        signed.sign(self._signers("timestamp"))
        changes.add("timestamp", timestamp.version, signed.to_bytes(_SERIALIZER))

    def _roles(self) -> list[str]:
        with reading(self._engine) as connection:
            return list(connection.execute(sa.select(tables.roles.c.role).distinct()).scalars())

    def _target_info(self, path: str) -> TargetFile | None:
        match path.split("/", maxsplit=1)[0]:
            case "trust":
                role = "targets"
            case "teams":
                role = f"team-{path.split('/')[1]}"
            case "servers":
                role = self.bin_of(path)
            case top:
                role = top
        data = self.role(role)
        return None if data is None else Metadata[Targets].from_bytes(data).signed.targets.get(path)


def _parse(role: str, data: bytes) -> Metadata[Root] | Metadata[Targets]:
    try:
        metadata: Metadata[Root] | Metadata[Targets] = Metadata.from_bytes(data)
    except DeserializationError as error:
        raise BadRoleError(f"not TUF metadata of {role}", found=str(error)) from error
    wanted = "root" if role == "root" else "targets"
    if metadata.signed.type != wanted:
        raise BadRoleError(f"not metadata of {role}", expected=wanted, found=metadata.signed.type)
    return metadata
