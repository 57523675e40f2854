"""The cold path as a process of its own: ``python -I -m mcps_launcher.prove``.

The chain is proved by a short-lived child, so that the launcher that then stays with the
server never carries sigstore and tuf in memory, and nothing of what parses a stranger's
bytes shares a process with the audit. It is handed a JSON document as its only argument and
prints one as its only output; progress goes to stderr.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcps_trust.errors import InternalError, McpsError

__all__ = ["RefusedError", "main", "prove_in_child"]


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


def command(alias: str, home: Path, *, quiet: bool = False, offline: bool = False) -> list[str]:
    """The child's command line.

    Args:
        alias: what is to be proved.
        home: the launcher's folder.
        quiet: report no progress, and renew the kept decision if that is enough.
        offline: the registry was found not to answer; do not ask again.
    """
    request = json.dumps({"alias": alias, "home": str(home), "quiet": quiet, "offline": offline})
    return [sys.executable, "-I", "-m", "mcps_launcher.prove", request]


def prove_in_child(alias: str, home: Path, *, offline: bool = False) -> dict[str, Any]:
    """Prove the chain for `alias` in a child; afterwards the decision is kept.

    Raises:
        RefusedError: some link does not hold.
        InternalError: the child failed.
    """
    done = subprocess.run(
        command(alias, home, offline=offline),
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    return read_answer(done.stdout, done.returncode)


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

    request = json.loads(sys.argv[1])

    def report(text: str) -> None:
        if not request["quiet"]:
            sys.stderr.write(f"… {text}\n")
            sys.stderr.flush()

    try:
        places = Places.find(Path(request["home"]))
        configuration, enrolment = Configuration.read(places), Enrolment.read(places)
        alias, now = request["alias"], datetime.now(UTC)
        back_end = choose_back_end(configuration, places)
        decision = None
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
