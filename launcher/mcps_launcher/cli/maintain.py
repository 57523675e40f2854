"""``mcps-launch ps``, ``logs``, ``gc`` and ``doctor``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import click

from mcps_launcher.cli.options import Home, pass_home
from mcps_launcher.diagnosis import diagnose
from mcps_launcher.install.store import Store
from mcps_launcher.places import Places
from mcps_launcher.sandbox.limits import remove_stale_groups
from mcps_trust.command_line import emit, json_option
from mcps_trust.errors import McpsError, UsageError
from mcps_trust.model.decision import LaunchDecision
from mcps_trust.printable import printable

__all__ = ["doctor", "gc", "logs", "ps"]


@click.command()
@json_option
@pass_home
def ps(home: Home, as_json: bool) -> None:
    """Show running sessions.

    \b
    Example:
      mcps-launch ps
    """
    keys = ("session", "alias", "pid", "started", "server")
    running = [{key: session[key] for key in keys} for session in _running(home.places())]
    lines = [
        f"{s['alias']:<16} {s['server']:<44} pid {s['pid']}  since {s['started']}" for s in running
    ]
    emit(as_json, {"sessions": running}, "\n".join(lines) or "nothing is running")


@click.command()
@click.argument("name")
@click.option("--lines", "-n", default=50, show_default=True, help="How many of the last lines.")
@json_option
@pass_home
def logs(home: Home, name: str, lines: int, as_json: bool) -> None:
    """Show what a server wrote to stderr in its last session.

    \b
    Example:
      mcps-launch logs clock
    """
    folder = home.places().logs / name
    files = sorted(folder.glob("*.log")) if folder.is_dir() else []
    if not files:
        raise UsageError(f"no session of {name!r} has written anything")
    text = files[-1].read_text("utf-8", "replace").splitlines()[-lines:]
    safe = [printable(line) for line in text]
    emit(as_json, {"session": files[-1].stem, "lines": safe}, "\n".join(safe))


@click.command()
@click.option("--all", "everything", is_flag=True, help="Remove every installed closure.")
@json_option
@pass_home
def gc(home: Home, everything: bool, as_json: bool) -> None:
    """Remove closures that no decision names, and what interruptions left behind.

    What a session uses that runs now, or is being installed, stays.

    \b
    Examples:
      mcps-launch gc
      mcps-launch gc --all
    """
    places = home.places()
    running = _running(places)
    keep = set() if everything else {Path(d.store_path).name for d in _decisions(places)}
    gone = Store(places.store).sweep(keep | {s["store"] for s in running})
    remove_stale_groups({s["session"] for s in running})
    if everything and places.blobs.is_dir():
        locks = {s["lock"] for s in running}  # what revocations are held against
        for blob in places.blobs.iterdir():
            if blob.is_dir():
                shutil.rmtree(blob, ignore_errors=True)  # of a fetch that was interrupted
            elif blob.name not in locks:
                blob.unlink(missing_ok=True)
    emit(as_json, {"removed": gone}, f"removed {len(gone)} closures")


@click.command()
@json_option
@pass_home
def doctor(home: Home, as_json: bool) -> int:
    """Check this machine: what the launcher needs, and what could mislead it.

    \b
    Example:
      mcps-launch doctor
    """
    findings = diagnose(home.places())
    marks = {"ok": "✓", "warning": "!", "problem": "✗"}
    lines = []
    for finding in findings:
        lines.append(f"{marks[finding.state]} {finding.what}: {finding.detail}")
        if finding.remedy:
            lines.append(f"    {finding.remedy}")
    emit(as_json, {"findings": [
        {"what": f.what, "state": f.state, "detail": f.detail, "remedy": f.remedy}
        for f in findings
    ]}, "\n".join(lines))  # fmt: skip
    return 78 if any(f.state == "problem" for f in findings) else 0


def _running(places: Places) -> list[dict[str, Any]]:
    """Sessions whose launcher lives; files of others are removed."""
    result = []
    for path in sorted(places.sessions.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            session = json.loads(path.read_text("utf-8"))
            if _lives(session["pid"]) and session["store"] and session["lock"]:
                result.append(session)
            else:
                path.unlink(missing_ok=True)
    return result


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _decisions(places: Places) -> list[LaunchDecision]:
    found = []
    for path in places.kept.glob("decision-*.json"):
        with contextlib.suppress(OSError, McpsError):
            found.append(LaunchDecision.parse(path.read_bytes()))
    return found
