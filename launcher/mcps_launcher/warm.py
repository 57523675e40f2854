"""The warm path: use a kept decision, if everything it rests on is as it was.

"Unchanged" is proved with two plain requests and never taken for "fresh": the next root
must be absent and the timestamp's bytes must be the same; then its own signed time of
issue and the earliest expiry decide. Neither tuf nor sigstore is imported here.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.install.installed import Look, manifest
from mcps_launcher.kept import Kept
from mcps_launcher.sandbox.process import BackEnd
from mcps_launcher.start import Start, prepare_start
from mcps_trust.errors import NotPermittedError, UnavailableError
from mcps_trust.model.decision import LaunchDecision
from mcps_trust.model.digest import sha256
from mcps_trust.model.vetting import Tier

__all__ = ["FREEZE_AFTER", "OFFLINE_TIERS", "FreezeSuspectedError", "Needed", "find_kept_start"]

FREEZE_AFTER = timedelta(minutes=60)

OFFLINE_TIERS: dict[Tier, timedelta] = {
    "high": timedelta(hours=4),
    "normal": timedelta(hours=72),
    "low": timedelta(days=7),
}
"""How long a server of each tier runs without the registry, from its last signed word."""

Needed = Literal["proof", "renewal", "cache"]
"""What a start needs that no kept decision allows: the whole chain proved; the same decision
under newer metadata; the chain proved from the cache, as the registry does not answer."""

_LIMIT = 64 * 1024  # bytes
_SECONDS = 2.0  # for each of two small answers


class FreezeSuspectedError(NotPermittedError):
    """The registry answers, and has not said for an hour that its state still holds."""

    code = "freeze-suspected"
    advice = "ask whoever runs the registry: somebody may be hiding changes from this host"


def find_kept_start(
    alias: str,
    *,
    kept: Kept,
    enrolment: Enrolment,
    configuration: Configuration,
    back_end: BackEnd,
    now: datetime,
    look: Look = manifest,
) -> Start | Needed:
    """The start of the kept decision about `alias`, or what is needed first.

    Raises:
        ClockSetBackError: this machine's clock is wrong.
        StoreChangedError: the installed closure was changed.
        FreezeSuspectedError: the registry is silent, and the tier does not bear it.
    """
    decision = kept.decision(alias)
    if decision is None or decision.alias != alias:
        return "proof"
    if not _still_bound(decision, enrolment, configuration, now):
        return "proof"
    kept.check_clock(now)
    # Whatever this host has seen since, for another server too, must be proved against.
    if not kept.is_latest(decision):
        return "renewal"
    timestamp = decision.metadata.timestamp_sha256
    if not kept.asked_recently(timestamp, now):
        try:
            if not _unchanged(decision, enrolment, configuration):
                return "renewal"
        except UnavailableError:
            return "cache"
        kept.was_asked(timestamp, now)
    # Not only when it was asked: another server's start may have asked, and borne it.
    check_freeze(decision.metadata.issued, decision.tier, now)
    payload = kept.payload(decision.release)
    start = None if payload is None else prepare_start(decision, payload, back_end, look)
    return start or "proof"


def check_freeze(issued: datetime, tier: Tier, now: datetime) -> None:
    """Judge a registry that answers, and last said at `issued` that its state holds.

    Raises:
        FreezeSuspectedError: that is too long ago: an hour for a server of tier high, and for
            the others what they bear without any registry.
    """
    age = now - issued
    if age <= FREEZE_AFTER:
        return
    minutes = int(age.total_seconds() // 60)
    most = FREEZE_AFTER if tier == "high" else OFFLINE_TIERS[tier]
    if age > most:
        raise FreezeSuspectedError(
            "the registry's metadata is older than it should be",
            expected=f"at most {int(most.total_seconds() // 60)} minutes (tier {tier})",
            found=f"{minutes} minutes",
        )
    sys.stderr.write(f"warning: the registry's metadata is {minutes} minutes old\n")


def _still_bound(
    decision: LaunchDecision, enrolment: Enrolment, configuration: Configuration, now: datetime
) -> bool:
    return (
        decision.enrolment == enrolment.digest
        and decision.registry == enrolment.registry
        and decision.team == enrolment.team
        and decision.ceilings == configuration.ceilings
        and now < decision.metadata.expires
        and now < decision.entry_expires
    )


def _unchanged(
    decision: LaunchDecision, enrolment: Enrolment, configuration: Configuration
) -> bool:
    from mcps_trust.http import Http  # costs 20 ms, and most starts ask nothing

    base = f"{enrolment.registry}/metadata"
    with Http(replace(configuration.http, timeout=_SECONDS)) as http:
        newer = http.get(f"{base}/{decision.metadata.root + 1}.root.json", limit=_LIMIT)
        timestamp = http.get(f"{base}/timestamp.json", limit=_LIMIT)
    return (
        newer.status in (403, 404)
        and timestamp.status == 200
        and sha256(timestamp.body) == decision.metadata.timestamp_sha256
    )
