"""The cold path as a process of its own: ``python -I -m mcps_launcher.prove``.

The chain is proved by a short-lived child, so that the launcher that then stays with the
server never carries sigstore and tuf in memory, and nothing of what parses a stranger's
bytes shares a process with the audit. It is handed a JSON document as its only argument and
prints one as its only output; progress goes to stderr.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcps_trust.errors import InternalError, McpsError, UnavailableError
from mcps_trust.interrupts import raise_interrupt

__all__ = ["NotReadyError", "RefusedError", "main", "prove_in_child"]

FIRST_START_SECONDS = 30.0
"""How long a start may take that proves, fetches and installs; hosts wait about so long."""


_OWN_SECONDS = 180


class RefusedError(McpsError):
    """The child refused; carries its code, its words and its exit code."""

    def __init__(self, error: dict[str, Any], exit_code: int) -> None:
        super().__init__(
            str(error.get("what", "refused")),
            expected=error.get("expected"),
            found=error.get("found"),
            remedy=error.get("remedy", ""),
        )
        self.code = str(error.get("code", "refused"))  # type: ignore[misc]  # as the child said
        self.exit_code = exit_code  # type: ignore[misc]  # as the child said


class NotReadyError(UnavailableError):
    """The first start of a server takes longer than hosts wait."""

    code = "not-ready"


def command(alias: str, home: Path, *, quiet: bool = False, offline: bool = False) -> list[str]:
    """The child's command line.

    Args:
        alias: what is to be proved.
        home: the launcher's folder.
        quiet: report no progress; hold the decision that stands on stdin against what the
            registry says now, and renew the kept one if that is enough.
        offline: the registry was found not to answer; do not ask again.
    """
    request = json.dumps({"alias": alias, "home": str(home), "quiet": quiet, "offline": offline})
    return [sys.executable, "-I", "-m", "mcps_launcher.prove", request]


def prove_in_child(alias: str, home: Path, *, offline: bool = False) -> dict[str, Any]:
    """Prove the chain for `alias` in a child; afterwards the decision is kept.

    Raises:
        RefusedError: some link does not hold.
        NotReadyError: it takes too long, for a server that has to be fetched for one.
        InternalError: the child failed.
    """
    # What interrupts the child waits until it can clean up; what interrupts this process, until
    # there is a child to be ended.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = None
    try:
        child = subprocess.Popen(
            command(alias, home, offline=offline),
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        output, _ = child.communicate(timeout=FIRST_START_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NotReadyError(
            f"{alias} could not be made ready in time",
            expected=f"{FIRST_START_SECONDS:g} s",
            remedy=f"mcps-launch prefetch {alias}",
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if child is not None:
            _end(child)
            if child.stdout is not None:
                child.stdout.close()
    return read_answer(output, child.returncode)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child, with all that it started, should it still run."""
    # Twice, as the first may strike where Python cannot raise it.
    for number, patience in ((signal.SIGINT, 2.0), (signal.SIGINT, 3.0), (signal.SIGKILL, None)):
        if child.poll() is not None:
            return
        os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience)


def read_answer(output: bytes, exit_code: int) -> dict[str, Any]:
    """What the child said.

    Raises:
        RefusedError, InternalError: it refused, or failed.
    """
    try:
        document: dict[str, Any] = json.loads(output)
    except ValueError as error:
        raise InternalError(
            "the prover ended without an answer", found=f"exit code {exit_code}"
        ) from error
    if "error" in document:
        raise RefusedError(document["error"], exit_code)
    return document


def child_environment() -> dict[str, str]:
    """Nothing of the launcher's environment."""
    return {"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}


def say(document: dict[str, Any]) -> None:
    """The child's one output."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main() -> int:
    """The child itself."""
    from mcps_launcher.back_ends import choose_back_end
    from mcps_launcher.configuration import Configuration
    from mcps_launcher.enrolment import Enrolment
    from mcps_launcher.places import Places

    gc.disable()  # a second's life: what it would look for is not worth a tenth of it
    request = json.loads(sys.argv[1])
    signal.alarm(_OWN_SECONDS)  # should the launcher be killed, nobody else ends it

    def report(text: str) -> None:
        if not request["quiet"]:
            sys.stderr.write(f"… {text}\n")
            sys.stderr.flush()

    try:
        raise_interrupt()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        places = Places.find(Path(request["home"]))
        configuration = Configuration.read(places)
        enrolment = Enrolment.read(places, configuration)
        alias, now = request["alias"], datetime.now(UTC)
        decision = None
        if request["quiet"]:
            from mcps_launcher.standing import check_standing
            from mcps_trust.model.decision import LaunchDecision

            running = LaunchDecision.parse(sys.stdin.buffer.read())
            check_standing(running, places, enrolment, configuration, now)
        back_end = choose_back_end(configuration, places)
        if request["quiet"]:
            from mcps_launcher.renew import renew

            decision = renew(alias, places, enrolment, configuration, back_end, now)
        if decision is None:
            from mcps_launcher.resolve import Resolver  # costs 100 ms

            resolver = Resolver(
                places, enrolment, configuration, now, report, offline=request["offline"]
            )
            decision, _ = resolver.resolve(alias, back_end)
    except McpsError as error:
        say({"error": error.to_dict()})
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - a process boundary: the parent gets an error
        failure = InternalError(f"{type(error).__name__}: {error}")
        say({"error": failure.to_dict()})
        return failure.exit_code
    say({"decision": decision.digest})
    return 0


if __name__ == "__main__":
    sys.exit(main())
