"""What the launcher needs of a machine, and what of its surroundings could mislead it."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.install.inside import host_links, machine
from mcps_launcher.install.runtime import NoRuntimeError, find_runtime
from mcps_launcher.kept import Kept
from mcps_launcher.places import Places, check_own
from mcps_launcher.sandbox.bwrap import Bwrap
from mcps_launcher.sandbox.strict import strict_plan
from mcps_trust.clock import format_time
from mcps_trust.errors import McpsError
from mcps_trust.http import Http
from mcps_trust.model.permissions import Permissions

__all__ = ["Finding", "diagnose"]

_STEERING = ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME",
             "PYTHONSTARTUP", "PYTHONUSERBASE")  # fmt: skip
_LIMIT = 64 * 1024  # bytes
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warning", "problem"]
    detail: str
    remedy: str = ""


def diagnose(places: Places) -> list[Finding]:
    """Look at everything once; changes nothing."""
    return [
        _folder(places),
        _enrolment(places),
        _registry(places),
        _configuration(places),
        _sandbox(places),
        *(_runtime(name) for name in ("python", "node")),
        _environment(),
    ]


def _folder(places: Places) -> Finding:
    try:
        check_own(places.home)
    except McpsError as error:
        return Finding(what="folder", state="problem", detail=error.what, remedy=error.remedy)
    return Finding(what="folder", state="ok", detail=str(places.home))


def _enrolment(places: Places) -> Finding:
    try:
        enrolment = Enrolment.read(places, Configuration.read(places))
    except McpsError as error:
        return Finding(what="enrolment", state="problem", detail=error.what, remedy=error.remedy)
    kind: Literal["ok", "warning"] = "warning" if enrolment.development else "ok"
    detail = f"{enrolment.registry}, team {enrolment.team}"
    return Finding(
        what="enrolment",
        state=kind,
        detail=detail + (" (DEVELOPMENT)" if enrolment.development else ""),
        remedy="only for trying things out: it takes releases that anybody can sign"
        if enrolment.development
        else "",
    )


def _registry(places: Places) -> Finding:
    """Ask it: whoever cannot start anything wants to know first whether it answers."""
    try:
        configuration = Configuration.read(places)
        enrolment = Enrolment.read(places, configuration)
        with Http(configuration.http) as http:
            answer = http.get(f"{enrolment.registry}/metadata/timestamp.json", limit=_LIMIT)
    except McpsError as error:
        return Finding(what="registry", state="warning", detail=error.what, remedy=error.remedy)
    issued = Kept(places).latest_time()
    word = f", last word seen of {format_time(issued)}" if issued else ""
    if answer.status != 200:
        detail = f"{enrolment.registry} does not answer as one: status {answer.status}{word}"
        return Finding(what="registry", state="warning", detail=detail)
    return Finding(what="registry", state="ok", detail=f"{enrolment.registry} answers{word}")


def _configuration(places: Places) -> Finding:
    try:
        configuration = Configuration.read(places)
    except McpsError as error:
        return Finding(what="configuration", state="problem", detail=str(error))
    if configuration.enrolment is not None:
        detail = "managed"
    else:
        kind = "managed, but without [enrolment]" if configuration.managed else "not managed"
        detail = f"{kind}: the team is self-asserted"
    return Finding(what="configuration", state="ok", detail=detail)


def _sandbox(places: Places) -> Finding:
    """Start a sandbox, read back what holds, and end it."""
    try:
        runtime = find_runtime("python", ">=3.9")
        plan = strict_plan(
            app="/usr/share", bytecode=None,
            argv=[runtime.path, "-I", "-S", "-c", "import sys; sys.stdin.read()"],
            permissions=Permissions(), environment={}, machine=machine(), host_links=host_links(),
        )  # fmt: skip
        process = Bwrap(places.home).spawn(plan, f"doctor-{secrets.token_hex(4)}")
        try:
            test = process.self_test()
        finally:
            process.kill()
            for descriptor in (process.stdin, process.stdout, process.stderr):
                os.close(descriptor)
    except McpsError as error:
        remedy = error.remedy
        if _APPARMOR.exists() and _APPARMOR.read_text("ascii").strip() == "1":
            remedy = (
                "AppArmor forbids user namespaces here: install a profile for "
                "/usr/bin/bwrap that allows `userns` (bwrap-userns-restrict)"
            )
        return Finding(
            what="sandbox", state="problem", detail=f"{error.what}: {error.found}", remedy=remedy
        )
    weak = test.limits == "rlimit"
    return Finding(
        what="sandbox",
        state="warning" if weak else "ok",
        detail=f"bubblewrap holds what is planned; limits by {test.limits}",
        remedy="memory is limited per process only: no cgroup is delegated to this user"
        if weak
        else "",
    )


def _runtime(name: str) -> Finding:
    try:
        runtime = find_runtime(name, ">=0")
    except NoRuntimeError as error:
        return Finding(what=name, state="warning", detail=error.what, remedy=error.remedy)
    return Finding(what=name, state="ok", detail=f"{runtime.path} {runtime.version}")


def _environment() -> Finding:
    found = [name for name in _STEERING if name in os.environ]
    if not found:
        return Finding(what="environment", state="ok", detail="nothing steers the interpreter")
    return Finding(
        what="environment",
        state="warning",
        detail=", ".join(found) + " set",
        remedy="whoever sets these for mcps-launch decides what code it runs; remove "
        "them from the host's configuration",
    )
