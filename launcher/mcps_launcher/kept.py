"""What was proved is kept, and held against the present before it is used again.

Here are the launch decisions about aliases (design §6.2), and what says whether they still
hold: the release payloads that they name, the manifests of installed closures, and when the
registry was last asked. Proofs and revocations, which only a new decision needs, are
`evidence`. All of it lies in one folder of mode 0700.
"""

from __future__ import annotations

import contextlib
import json
import time
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from mcps_launcher.places import Places
from mcps_trust.clock import format_time, parse_time
from mcps_trust.errors import ConfigurationError, McpsError
from mcps_trust.locked_file import exclusive, make_private_directory, write_atomically
from mcps_trust.model.decision import LaunchDecision
from mcps_trust.model.digest import Sha256, sha256

__all__ = ["REVOCATIONS", "ClockSetBackError", "Kept"]

REVOCATIONS = "revocations.json"

CLOCK_SLACK = timedelta(minutes=5)
ASK_AGAIN_AFTER = 60.0  # seconds


class ClockSetBackError(ConfigurationError):
    """The clock is behind a time that the registry has already signed."""

    code = "clock-set-back"
    advice = "set the clock of this machine right"


class Kept:
    """The folder of what is kept."""

    def __init__(self, places: Places) -> None:
        self._folder = make_private_directory(places.kept)
        self._timestamp = places.registry / "metadata" / "timestamp.json"

    # decisions and their payloads

    def decision(self, alias: str) -> LaunchDecision | None:
        """The last decision about an alias, if it can be read."""
        with contextlib.suppress(OSError, McpsError):
            return LaunchDecision.parse((self._folder / f"decision-{alias}.json").read_bytes())
        return None

    def keep_decision(self, decision: LaunchDecision, payload: bytes) -> None:
        """Keep a decision and the payload of the release that it is about."""
        write_atomically(self._folder / f"payload-{decision.release}", payload)
        write_atomically(
            self._folder / f"decision-{decision.alias}.json", decision.to_bytes(), durable=False
        )

    def forget(self, alias: str) -> None:
        """Drop the decision about an alias: it was refused since."""
        (self._folder / f"decision-{alias}.json").unlink(missing_ok=True)

    def payload(self, release: Sha256) -> bytes | None:
        """The payload of a release, if it is here and still itself."""
        with contextlib.suppress(OSError):
            data = (self._folder / f"payload-{release}").read_bytes()
            if sha256(data) == release:
                return data
        return None

    def is_latest(self, decision: LaunchDecision) -> bool:
        """Whether nothing newer was seen than what a decision rests on."""
        try:
            timestamp = self._timestamp.read_bytes()
            revocations = (self._folder / REVOCATIONS).read_bytes()
        except OSError:
            return False
        return (
            sha256(timestamp) == decision.metadata.timestamp_sha256
            and sha256(revocations) == decision.revocations
        )

    # installed closures

    def installing(self, key: Sha256) -> AbstractContextManager[None]:
        """Hold the right to install `key` and to remember its manifest, as one step."""
        return exclusive(self._folder / f"install-{key}.lock")

    def manifest(self, key: Sha256) -> str | None:
        """What `stat` said of the closure in the store under `key` when it was installed."""
        with contextlib.suppress(OSError):
            return (self._folder / f"manifest-{key}").read_text("ascii")
        return None

    def keep_manifest(self, key: Sha256, manifest: Sha256) -> None:
        """Remember what a closure looked like when it was installed."""
        write_atomically(self._folder / f"manifest-{key}", manifest.encode())

    # time

    def check_clock(self, now: datetime) -> None:
        """Let pass a clock that is not behind what the registry has signed.

        Raises:
            ClockSetBackError: it is.
        """
        with contextlib.suppress(OSError, ValueError):
            seen = parse_time((self._folder / "latest-time").read_text("ascii").strip())
            if now < seen - CLOCK_SLACK:
                raise ClockSetBackError(
                    "this machine's clock was set back",
                    expected=f"after {format_time(seen)}",
                    found=format_time(now),
                )

    def latest_time(self) -> datetime | None:
        """The latest time that the registry has signed, as far as this host has seen."""
        with contextlib.suppress(OSError, ValueError):
            return parse_time((self._folder / "latest-time").read_text("ascii").strip())
        return None

    def saw_time(self, issued: datetime) -> None:
        """Remember the latest time that was signed."""
        place = self._folder / "latest-time"
        with contextlib.suppress(OSError, ValueError):
            if parse_time(place.read_text("ascii").strip()) >= issued:
                return
        write_atomically(place, format_time(issued).encode() + b"\n", durable=False)

    def was_asked(self, timestamp: Sha256, now: datetime) -> None:
        """Remember that the registry has just confirmed this timestamp."""
        text = json.dumps([timestamp, now.timestamp(), _boot_time()])
        write_atomically(self._folder / "asked", text.encode(), durable=False)

    def asked_recently(self, timestamp: Sha256, now: datetime) -> bool:
        """Whether it confirmed this timestamp within a minute, by both clocks."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            known, wall, boot = json.loads((self._folder / "asked").read_bytes())
            ages = (now.timestamp() - wall, _boot_time() - boot)
            return known == timestamp and all(0 <= age <= ASK_AGAIN_AFTER for age in ages)
        return False


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
