"""From a launch decision to the plan that is started, and whether both still agree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcps_launcher.install.inside import closure_plan
from mcps_launcher.install.installed import (
    Installed,
    Look,
    StoreChangedError,
    manifest,
    stat_identity,
)
from mcps_launcher.sandbox.plan import Plan
from mcps_launcher.sandbox.process import BackEnd
from mcps_trust.model.decision import LaunchDecision
from mcps_trust.model.digest import Sha256
from mcps_trust.model.permissions import Permissions
from mcps_trust.policy.intersection import MissingPermissionError

__all__ = ["Start", "granted_environment", "held_plan", "prepare_start"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """All that is needed to start a server under a decision; `payload` is its release's."""

    decision: LaunchDecision
    payload: bytes
    plan: Plan


def granted_environment(permissions: Permissions, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the server gets: fixed values, and granted names that are set.

    Raises:
        MissingPermissionError: one that it cannot do without is not set.
    """
    result = {}
    for variable in permissions.environment:
        value = variable.value if variable.value is not None else environment.get(variable.name)
        if value is not None:
            result[variable.name] = value
        elif variable.required:
            raise MissingPermissionError(
                f"the server needs the variable {variable.name}, which is not set",
                remedy=f"set {variable.name} for mcps-launch in the host's configuration",
            )
    return result


def prepare_start(
    decision: LaunchDecision, payload: bytes, back_end: BackEnd, look: Look = manifest
) -> Start | None:
    """The start of a kept decision, or None where something it rests on has changed.

    Raises:
        StoreChangedError: the installed closure is not as it was installed.
        MissingPermissionError: a variable that the server needs is not set.
    """
    granted = granted_environment(decision.permissions, os.environ)
    plan = held_plan(decision, back_end, granted, look)
    return None if plan is None else Start(decision=decision, payload=payload, plan=plan)


def held_plan(
    decision: LaunchDecision, back_end: BackEnd, environment: Mapping[str, str],
    look: Look = manifest,
) -> Plan | None:  # fmt: skip
    """The plan of a kept decision, or None where runtime, closure or plan are not as they were.

    Raises:
        StoreChangedError: the installed closure is not as it was installed.
    """
    runtime = decision.runtime
    if stat_identity(runtime["path"]) != runtime["identity"]:
        return None
    installed = Installed(path=Path(decision.store_path), digest=Sha256(""))
    if not installed.tree.is_dir():
        return None
    if look(installed.path) != decision.manifest:
        raise StoreChangedError(
            "the installed closure is not as it was installed",
            expected=decision.manifest,
            found=str(installed.path),
        )
    plan = closure_plan(
        decision.argv, runtime["name"], installed, decision.permissions, environment
    )
    return plan if plan.digest(back_end.describe()) == decision.plan else None
