"""While a server runs: is its decision still one? Asked every few minutes, of a child process."""

from __future__ import annotations

import subprocess
import tempfile
import time
from datetime import UTC, datetime
from typing import IO

from mcps_launcher.kept import Kept
from mcps_launcher.places import Places
from mcps_launcher.prove import child_environment, command, read_answer
from mcps_launcher.warm import OFFLINE_TIERS
from mcps_trust.errors import McpsError
from mcps_trust.model.decision import LaunchDecision

__all__ = ["Recheck"]

# Untrusted data, refusals and another configuration end a session; an unreachable registry
# does so in its time.
_ENDING_EXITS = (65, 77, 78)
# What keeps a server from being started, and says nothing about one that runs.
_BORNE = ("back-end-unavailable", "no-runtime")
_RECHECK_SECONDS = 120.0


class Recheck:
    """Asks the registry again while the server runs, by a short-lived child."""

    def __init__(self, decision: LaunchDecision, places: Places, every: float) -> None:
        """Ask about the decision that a session was started under, `every` so many seconds."""
        self._alias = decision.alias
        self._home = places.home
        self._every = every
        self._decision = decision
        self._tier = decision.tier
        self._output: IO[bytes] | None = None
        self._deadline = 0.0
        self._kept = Kept(places)
        self._next = time.monotonic() + self._every
        self._child: subprocess.Popen[bytes] | None = None

    def tick(self) -> str | None:
        """A reason to end the session, or None."""
        now = time.monotonic()
        if self._child is None:
            if now >= self._next:
                self._output = tempfile.TemporaryFile()  # noqa: SIM115 - read when the child has ended
                self._deadline = now + _RECHECK_SECONDS
                with tempfile.TemporaryFile() as running:
                    running.write(self._decision.to_bytes())
                    running.seek(0)
                    self._child = subprocess.Popen(
                        command(self._alias, self._home, quiet=True), env=child_environment(),
                        stdin=running, stdout=self._output, stderr=subprocess.DEVNULL,
                    )  # fmt: skip
            return None
        if self._child.poll() is None:
            if now > self._deadline:
                self._child.kill()
            return None
        code, self._child = self._child.returncode, None
        self._next = now + self._every
        return self._judge(code)

    def stop(self) -> None:
        """End a question that is still under way."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        if self._output is not None:
            self._output.close()

    def _judge(self, code: int) -> str | None:
        output = b""
        if self._output is not None:
            self._output.seek(0)
            output = self._output.read()
            self._output.close()
        try:
            read_answer(output, code)
        except McpsError as error:
            ends = error.exit_code in _ENDING_EXITS or error.code == "offline-too-long"
            ends = ends and error.code not in _BORNE
            return error.code if ends else self._offline_too_long()
        decision = self._kept.decision(self._alias)
        changed = decision is not None and _terms(decision) != _terms(self._decision)
        return "terms-changed" if changed else None

    def _offline_too_long(self) -> str | None:
        """The registry gives no answer: how long that is borne depends on the tier."""
        issued = self._kept.latest_time()
        if issued is not None and datetime.now(UTC) - issued > OFFLINE_TIERS[self._tier]:
            return "offline-too-long"
        return None


def _terms(decision: LaunchDecision) -> tuple[object, ...]:
    """What a running session was started under; a change of any of it ends the session."""
    return (
        decision.entry,
        decision.permissions,
        dict(decision.tools),
        decision.deny_tools,
        decision.closure,
    )
