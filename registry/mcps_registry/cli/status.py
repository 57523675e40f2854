"""``mcps-registry status`` and ``fsck``."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa
from tuf.api.metadata import Metadata

from mcps_registry.ceremony.holders import offline_folders
from mcps_registry.configuration import RegistryConfiguration, RegistryFolder
from mcps_registry.desk import open_desk
from mcps_registry.store.database import connect, reading, tables
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.digest import sha256
from mcps_trust.model.revocation import Reinstatements, Revocations

__all__ = ["fsck", "status"]

_ROLES = ("root", "targets", "revoked", "reinstated", "teams", "catalog", "snapshot", "timestamp")
_SOON = 60  # days: a holder may be away for some of them


class RegistryDamagedError(UntrustedDataError):
    """What is served is not what the database says was published."""

    code = "registry-damaged"
    advice = "`mcps-registry serve` and `refresh` write missing files again; changed ones must go"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Show expiries, the queue, revocations in force, and offline keys that still lie here.

    \b
    Example:
      mcps-registry status ./registry
    """
    desk = open_desk(RegistryFolder(folder), bytes)
    now = datetime.now(UTC)
    roles: dict[str, dict[str, Any]] = {}
    for role in (*_ROLES, *desk.repository.team_roles()):
        data = desk.repository.role(role)
        if data is not None:
            signed = Metadata.from_bytes(data).signed
            roles[role] = {
                "version": signed.version,
                "expires": signed.expires.isoformat(),
                "days": (signed.expires - now).days,
            }
    soon = [role for role, row in roles.items()
            if role not in ("snapshot", "timestamp") and row["days"] < _SOON]  # fmt: skip
    queue = Counter(item["state"] for item in desk.submissions())
    offline = offline_folders(desk.folder.keys)
    revoked = Revocations.parse(desk.repository.target("revoked/list.json") or b"").revocations
    taken_back = Reinstatements.parse(desk.repository.target("reinstated/list.json") or b"").ids
    in_force = [item for item in revoked if item.id not in taken_back]
    lines = [f"{desk.configuration.name}  {desk.configuration.url}", ""]
    lines += [
        f"  {role:<11} version {row['version']:<5} expires in {row['days']} days"
        for role, row in roles.items()
    ]
    lines += [
        "",
        *([f"  TO RENEW NOW: mcps-registry renew {' '.join(soon)}", ""] if soon else []),
        "  queue: " + (", ".join(f"{n} {state}" for state, n in queue.items()) or "empty"),
    ]
    if in_force:
        lines += ["", "  revoked:"]
        lines += [f"    {item.id}  {item.kind} {item.match}  ({item.reason})" for item in in_force]
    if offline:
        lines += [
            "",
            "  offline keys that still lie here, to be carried away: " + ", ".join(offline),
        ]
    emit(
        as_json,
        {
            "name": desk.configuration.name,
            "roles": roles,
            "queue": dict(queue),
            "offlineKeysHere": list(offline),
            "toRenew": soon,
            "revocations": [item.to_dict() for item in in_force],
        },
        "\n".join(lines),
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@json_option
def fsck(folder: Path, as_json: bool) -> None:
    """Compare every served file with the database, and every blob with its name.

    \b
    Example:
      mcps-registry fsck ./registry
    """
    place = RegistryFolder(folder)
    RegistryConfiguration.read(place)  # says where there is none
    problems = []
    count = 0
    with reading(connect(place.database)) as connection:
        for row in connection.execute(sa.select(tables.roles)):
            if row.role == "timestamp":
                continue
            count += 1
            problems += _differs(
                place.public / "metadata" / f"{row.version}.{row.role}.json", row.data
            )
        for row in connection.execute(sa.select(tables.files)):
            parent, _, name = row.path.rpartition("/")
            count += 1
            problems += _differs(
                place.public / "targets" / parent / f"{row.sha256}.{name}", row.data
            )
    for blob in sorted((place.public / "blobs").glob("sha256/*/*")):
        count += 1
        if sha256(blob.read_bytes()) != blob.name:
            problems.append(f"changed: {blob}")
    if problems:
        raise RegistryDamagedError(
            f"{len(problems)} of {count} files are not as they were", found="; ".join(problems[:10])
        )
    emit(as_json, {"files": count, "problems": []}, f"{count} files, all as published")


def _differs(path: Path, data: bytes) -> list[str]:
    try:
        return [] if path.read_bytes() == data else [f"changed: {path}"]
    except OSError:
        return [f"missing: {path}"]
