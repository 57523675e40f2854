"""``mcps-launch audit``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import click

from mcps_launcher.cli.options import Home, pass_home
from mcps_trust.audit.chain import AuditBrokenError, parse_record
from mcps_trust.audit.sink import AuditDirectory
from mcps_trust.audit.verify import verify_audit
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import UsageError

__all__ = ["audit"]


@click.group()
def audit() -> None:
    """Read and check the audit trail."""


@audit.command()
@click.argument("session", required=False, default="")
@click.option("--last", is_flag=True, help="The newest session.")
@json_option
@pass_home
def show(home: Home, session: str, last: bool, as_json: bool) -> None:
    """Show the sessions and the starts that were refused, or one session's records.

    \b
    Examples:
      mcps-launch audit show
      mcps-launch audit show --last
    """
    directory = AuditDirectory(home.places().audit)
    found = sorted(path.stem for path in directory.sessions.glob("*.jsonl"))
    if last and found:
        session = found[-1]
    if not session:
        _show_all(directory, found, as_json)
        return
    chosen = [name for name in found if name.startswith(session)]
    if len(chosen) != 1:
        raise UsageError(
            "there is not one such session",
            found=session,
            expected="one of `mcps-launch audit show`",
        )
    records = _records(directory.sessions / f"{chosen[0]}.jsonl")
    text = "\n".join(
        f"{r.get('seq', '?'):>4} {r.get('time', '?')} {r.get('event', '?'):<14} "
        + " ".join(
            f"{k}={r[k]}"
            for k in ("tool", "method", "name", "decision", "reason", "outcome", "duration")
            if r.get(k) not in (None, "")
        )
        for r in records
    )
    emit(as_json, {"session": chosen[0], "records": records}, text)


def _show_all(directory: AuditDirectory, names: list[str], as_json: bool) -> None:
    sessions = []
    for name in names:
        try:
            first = (_records(directory.sessions / f"{name}.jsonl", most=1) or [{}])[0]
        except AuditBrokenError:
            first = {}  # `verify` says so; the others are shown
        named = first.get("server")
        server = named if isinstance(named, dict) else {}
        sessions.append({
            "session": name, "time": first.get("time"), "alias": first.get("alias"),
            "server": server.get("name"), "version": server.get("version"),
        })  # fmt: skip
    host = _records(directory.host) if directory.host.exists() else []
    refused = [
        {"time": record.get("time"), "alias": record.get("alias"), "code": record.get("code")}
        for record in host
        if record.get("event") == "launch-refused"
    ]
    lines = [
        (s["time"], f"{s['session']}  {s['alias']}: {s['server']} {s['version']}")
        if s["alias"]
        else (None, f"{s['session']}  cannot be read: see `mcps-launch audit verify`")
        for s in sessions
    ]
    lines += [(r["time"], f"refused [{r['code']}]  {r['alias']}") for r in refused]
    emit(
        as_json,
        {"sessions": sessions, "refused": refused},
        "\n".join(f"{time or '?'}  {text}" for time, text in sorted(lines, key=str))
        or "no sessions yet",
    )


def _records(place: Path, *, most: int | None = None) -> list[dict[str, Any]]:
    """The records of a chain, as far as they can be read: whether it is whole, `verify` says.

    Raises:
        AuditBrokenError: a line is no record.
    """
    with place.open("rb") as file:
        return [
            parse_record(line, f"{place.name}: line {number}")
            for number, line in enumerate(islice(file, most), 1)
        ]


@audit.command()
@json_option
@pass_home
def verify(home: Home, as_json: bool) -> int:
    """Check every chain against every other.

    \b
    Example:
      mcps-launch audit verify
    """
    states = verify_audit(AuditDirectory(home.places().audit))
    bad = [state for state in states if state.state in ("broken", "missing", "unknown")]
    lines = [f"{s.state:<9} {s.session}  {s.records} records  {s.detail}".rstrip() for s in states]
    emit(as_json, {"sessions": [
        {"session": s.session, "state": s.state, "records": s.records, "detail": s.detail}
        for s in states
    ]}, "\n".join(lines) or "no sessions yet")  # fmt: skip
    return AuditBrokenError.exit_code if bad else 0
