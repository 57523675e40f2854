"""Proving a release, against the ``sigstore`` command on the same bundle."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from measure import Row, interleave, run_quietly, seconds_of
from starts import milliseconds

from mcps_launcher.prove import command
from worlds import Host

KEPT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from mcps_launcher.back_ends import choose_back_end
from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.kept import Kept
from mcps_launcher.places import Places
from mcps_launcher.warm import find_kept_start
places = Places.find(Path(sys.argv[1]))
configuration = Configuration.read(places)
start = find_kept_start(
    sys.argv[2], kept=Kept(places), enrolment=Enrolment.read(places, configuration), configuration=configuration,
    back_end=choose_back_end(configuration, places), now=datetime.now(UTC))
sys.exit(f"the decision needs: {start}" if isinstance(start, str) else 0)
"""


def verifications(host: Host, folder: Path, rounds: int) -> list[Row]:
    """The first time with metadata cached, and once it was proved."""
    theirs = sigstore_command(host, folder)
    first = command("echo", host.places.home)
    again = [sys.executable, "-I", "-c", KEPT, str(host.places.home), "echo"]

    def forgotten() -> float:
        for pattern in ("decision-*", "proof-*"):
            for place in host.places.kept.glob(pattern):
                place.unlink()
        return seconds_of(lambda: run_quietly(first))

    found = interleave({
        "theirs": lambda: seconds_of(lambda: run_quietly(theirs)),
        "first": forgotten,
        "again": lambda: seconds_of(lambda: run_quietly(again)),
    }, rounds)  # fmt: skip
    return [
        Row("`sigstore verify identity` of the bundle", milliseconds(found["theirs"])),
        Row("first verification of the whole chain", milliseconds(found["first"]),
            found["first"] / found["theirs"], 1.2),
        Row("repeated", milliseconds(found["again"]), found["again"] / found["theirs"], 0.35),
    ]  # fmt: skip


def sigstore_command(host: Host, folder: Path) -> list[str]:
    """Their verification of the same bundle, under the same trust root."""
    decision = host.resolve("echo")
    world = host.world
    base = "trust/sigstore/private"
    root = world.desk.repository.target(f"{base}/trusted_root.json")
    signing = world.desk.repository.target(f"{base}/signing_config.json")
    config = folder / "trust_config.json"
    config.write_text(json.dumps({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads(root or b""),
        "signingConfig": json.loads(signing or b""),
    }))  # fmt: skip
    blobs = host.places.blobs
    identity = world.identity()
    return [
        str(Path(sys.executable).parent / "sigstore"), "--trust-config", str(config),
        "verify", "identity", "--bundle", str(blobs / decision.bundle),
        "--cert-identity", identity.subject, "--cert-oidc-issuer", identity.issuer,
        str(blobs / decision.closure),
    ]  # fmt: skip
