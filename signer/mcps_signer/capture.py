"""Capture: install the closure, start it in the strict sandbox, write down what it offers.

For each era that it speaks, with no and with all client capabilities: tools, prompts,
resource templates, instructions. What differs between these is kept apart, so that the
guard knows later which definition belongs to which conversation.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcps_launcher.install.closure import install_selection, select_files
from mcps_launcher.install.fetch import FetchSettings
from mcps_launcher.install.inside import closure_plan
from mcps_launcher.install.installed import Installed
from mcps_launcher.install.runtime import Runtime, find_runtime
from mcps_launcher.install.start import start_argv
from mcps_launcher.install.store import Store
from mcps_launcher.sandbox.bwrap import Bwrap
from mcps_launcher.sandbox.plan import Plan
from mcps_launcher.sandbox.process import Process
from mcps_signer.client import CaptureClient, ServerSilentError, modern_meta
from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.canonical import canonical_digest
from mcps_trust.model.package_lock import NodeClosure
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.pylock import PythonClosure
from mcps_trust.model.statement import ReleasePackage
from mcps_trust.model.tools import Captured, ToolSurface

__all__ = ["ServerDidNotStartError", "capture"]

_TIMEOUT = 60.0  # seconds, for each answer
_STDERR_LINES = 20
_ALL_CAPABILITIES: dict[str, Any] = {"roots": {"listChanged": True}, "sampling": {},
                                     "elicitation": {}}  # fmt: skip
_KINDS = {
    "items": ("tools/list", "tools"),
    "prompts": ("prompts/list", "prompts"),
    "resource_templates": ("resources/templates/list", "resourceTemplates"),
}


class ServerDidNotStartError(UntrustedDataError):
    """The server cannot be started in the strict sandbox, or speaks no MCP."""

    code = "server-did-not-start"


@dataclass(frozen=True)
class _Seen:
    """One definition in one conversation."""

    kind: str
    definition: dict[str, Any]
    era: str
    capabilities: str


def capture(
    package: ReleasePackage,
    closure: PythonClosure | NodeClosure,
    permissions: Permissions,
    fetch: FetchSettings,
    report: Callable[[str], None],
) -> ToolSurface:
    """Start the package and ask it.

    Raises:
        ServerDidNotStartError: it did not start; says its last lines of stderr.
        McpsError: it could not be installed, or the sandbox is not available.
    """
    with tempfile.TemporaryDirectory(prefix="mcps-capture-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        back_end = Bwrap(work)
        runtime = find_runtime(package.runtime, package.runtime_requirement)
        selection = select_files(closure, package.closure.sha256, runtime)
        store = Store(work / "store")
        installed = install_selection(
            selection, runtime, store=store, fetch=fetch, back_end=back_end,
            session=f"capture-{secrets.token_hex(6)}", report=report,
        )  # fmt: skip
        try:
            plan = _plan(package, installed, runtime, permissions)
            return _ask_all(plan, back_end, report)
        finally:
            store.sweep(keep=set())


def _plan(
    package: ReleasePackage, installed: Installed, runtime: Runtime, permissions: Permissions
) -> Plan:
    environment = {v.name: v.value for v in permissions.environment if v.value is not None}
    strict = replace(permissions, egress=(), mounts=(), secrets=())
    argv = start_argv(package, installed, runtime)
    return closure_plan(argv, runtime.name, installed, strict, environment)


def _ask_all(plan: Plan, back_end: Bwrap, report: Callable[[str], None]) -> ToolSurface:
    seen: list[_Seen] = []
    versions: set[str] = set()
    failures: list[str] = []
    answered: set[str] = set()
    for era in ("legacy", "modern"):
        for label, capabilities in (("none", {}), ("all", _ALL_CAPABILITIES)):
            if failures and label == "all" and era not in answered:
                continue  # silent without them: it is not asked for another minute
            report(
                f"asking the server ({era}, client capabilities: {label}), "
                f"for {_TIMEOUT:g} s at most"
            )
            process = back_end.spawn(plan, f"capture-{secrets.token_hex(6)}")
            try:
                process.self_test()
                versions |= _ask(process, era, label, capabilities, seen)
                answered.add(era)
            except ServerSilentError as error:
                failures.append(f"{error.what}\n{_stderr(process)}".strip())
            finally:
                process.kill()
                for descriptor in (process.stdin, process.stdout, process.stderr):
                    os.close(descriptor)
    if not versions:
        raise ServerDidNotStartError(
            "the server did not start, or speaks no MCP that is known",
            found=failures[0] if failures else "no answer to initialize or server/discover",
        )
    return ToolSurface(
        protocol_versions=tuple(sorted(versions)),
        **{kind: _merge(seen, kind) for kind in ("instructions", *_KINDS)},
    )


def _ask(
    process: Process, era: str, label: str, capabilities: dict[str, Any], seen: list[_Seen]
) -> set[str]:
    client = CaptureClient(process.stdin, process.stdout, timeout=_TIMEOUT)
    if era == "legacy":
        about = client.initialize(capabilities)
        meta = None
    else:
        about = client.discover(capabilities)
        meta = modern_meta(capabilities)
    if about is None:
        return set()
    text = about.get("instructions")
    if isinstance(text, str):
        seen.append(_Seen("instructions", {"instructions": text}, era, label))
    for kind, (method, key) in _KINDS.items():
        for item in client.list_all(method, key, meta) or ():
            seen.append(_Seen(kind, item, era, label))
    supported = about.get("supportedVersions")
    if not isinstance(supported, list):
        supported = [about.get("protocolVersion")]
    return {str(version)[:100] for version in supported[:100]}


def _merge(seen: list[_Seen], kind: str) -> tuple[Captured, ...]:
    merged: dict[str, list[_Seen]] = {}
    for item in seen:
        if item.kind == kind:
            merged.setdefault(canonical_digest(item.definition), []).append(item)
    result = [
        Captured(
            definition=items[0].definition,
            eras=tuple(e for e in ("legacy", "modern") if any(i.era == e for i in items)),
            capabilities=tuple(c for c in ("none", "all")
                               if any(i.capabilities == c for i in items)),
        )
        for items in merged.values()
    ]  # fmt: skip
    return tuple(sorted(result, key=lambda c: (str(c.definition.get("name", "")), c.pin)))


def _stderr(process: Process) -> str:
    process.kill()
    data = b""
    while chunk := os.read(process.stderr, 65536):
        data = (data + chunk)[-65536:]
    return "\n".join(data.decode("utf-8", "replace").splitlines()[-_STDERR_LINES:])
