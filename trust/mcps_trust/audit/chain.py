"""Whether a chain of records is whole (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mcps_trust.audit.record import FIRST_PREV, SCHEMA, line_digest
from mcps_trust.errors import McpsError, UntrustedDataError
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256

__all__ = ["AuditBrokenError", "Chain", "parse_record", "read_chain"]


class AuditBrokenError(UntrustedDataError):
    """A record was changed, removed, inserted or moved."""

    code = "audit-broken"
    advice = "keep the files as they are: they are evidence"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """A whole chain: its records, and the digests of its first and last line."""

    records: tuple[dict[str, Any], ...]
    first: Sha256
    last: Sha256


def read_chain(lines: Iterable[bytes], name: str) -> Chain:
    """Follow a chain from its first line to its last.

    Args:
        lines: the file's lines, newlines included.
        name: what to call it in an error.

    Raises:
        AuditBrokenError: it is empty or broken; says at which line.
    """
    records: list[dict[str, Any]] = []
    first = last = FIRST_PREV
    for number, line in enumerate(lines):
        if not line.endswith(b"\n"):
            raise AuditBrokenError(f"{name}: line {number + 1} is cut off")
        record = parse_record(line, f"{name}: line {number + 1}")
        if record.get("seq") != number or record.get("prev") != last:
            raise AuditBrokenError(
                f"{name}: line {number + 1} does not follow the line before it",
                expected=f"seq {number}, prev {last}",
                found=f"seq {record.get('seq')}, prev {record.get('prev')}",
            )
        last = line_digest(line)
        first = last if number == 0 else first
        records.append(record)
    if not records:
        raise AuditBrokenError(f"{name} is empty")
    return Chain(records=tuple(records), first=first, last=last)


def parse_record(line: bytes, where: str) -> dict[str, Any]:
    """One record, by itself: whether it stands in its place, `read_chain` says.

    Raises:
        AuditBrokenError: the line is none, or of another format.
    """
    try:
        record = strict_json.loads(line)
    except McpsError as error:
        raise AuditBrokenError(f"{where} is not a record", found=error.what) from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise AuditBrokenError(f"{where} is of another format", expected=f"schema {SCHEMA}")
    return record
