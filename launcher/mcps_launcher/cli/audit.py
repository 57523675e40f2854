"""``mcps-launch audit``."""

from __future__ import annotations

import json

import click

from mcps_launcher.cli.options import Home, pass_home
from mcps_trust.audit.chain import AuditBrokenError
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
    """Show the sessions, or one session's records.

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
        emit(as_json, {"sessions": found}, "\n".join(found) or "no sessions yet")
        return
    chosen = [name for name in found if name.startswith(session)]
    if len(chosen) != 1:
        raise UsageError(
            "there is not one such session",
            found=session,
            expected="one of `mcps-launch audit show`",
        )
    lines = (directory.sessions / f"{chosen[0]}.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    text = "\n".join(
        f"{r['seq']:>4} {r['time']} {r['event']:<14} "
        + " ".join(
            f"{k}={r[k]}"
            for k in ("tool", "name", "decision", "reason", "outcome")
            if r.get(k) is not None
        )
        for r in records
    )
    emit(as_json, {"session": chosen[0], "records": records}, text)


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
