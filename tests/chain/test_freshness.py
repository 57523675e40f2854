"""Fresh, unchanged, renewed, frozen, silent: what a registry says about a kept decision."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mcps_launcher.back_ends import choose_back_end
from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.kept import Kept
from mcps_launcher.renew import renew
from mcps_launcher.start import Start
from mcps_launcher.warm import Needed, find_kept_start
from mcps_trust.errors import McpsError
from mcps_trust.http_settings import HttpSettings
from mcps_trust.model.decision import LaunchDecision
from mcps_trust.model.digest import Sha256
from worlds import INITIALIZE, NAMESPACE, Host, World, call

pytestmark = pytest.mark.bwrap


def kept_start(
    host: Host, alias: str = "echo", *, ahead: timedelta = timedelta(), proxy: str | None = None
) -> Start | Needed:
    """What a start finds."""
    configuration = replace(Configuration.read(host.places), http=HttpSettings(proxy=proxy))
    return find_kept_start(
        alias, kept=Kept(host.places), enrolment=Enrolment.read(host.places, Configuration.read(host.places)),
        configuration=configuration, back_end=choose_back_end(configuration, host.places),
        now=datetime.now(UTC) + ahead,
    )  # fmt: skip


def renewed(host: Host, *, ahead: timedelta = timedelta()) -> LaunchDecision | None:
    configuration = Configuration.read(host.places)
    back_end = choose_back_end(configuration, host.places)
    enrolment, now = (
        Enrolment.read(host.places, Configuration.read(host.places)),
        datetime.now(UTC) + ahead,
    )
    return renew("echo", host.places, enrolment, configuration, back_end, now)


@pytest.fixture
def served(own_world: World) -> tuple[World, Host, LaunchDecision]:
    own_world.serve("echo")
    host = own_world.host("host")
    return own_world, host, host.resolve("echo")


def test_within_a_minute_nothing_is_asked(served: tuple[World, Host, LaunchDecision]) -> None:
    _, host, decision = served
    found = kept_start(host, proxy="127.0.0.1:9")
    assert isinstance(found, Start)
    assert found.decision == decision


def test_after_it_the_registry_is_asked_and_a_silent_one_is_asked_once(
    served: tuple[World, Host, LaunchDecision],
) -> None:
    _, host, decision = served
    host.minutes_pass()
    assert kept_start(host, proxy="127.0.0.1:9") == "cache"
    found = kept_start(host)
    assert isinstance(found, Start)
    assert found.decision == decision


def test_a_timestamp_that_was_signed_again_renews_the_decision(
    served: tuple[World, Host, LaunchDecision],
) -> None:
    world, host, decision = served
    world.desk.repository.refresh(datetime.now(UTC) + timedelta(seconds=1))
    host.minutes_pass()
    assert kept_start(host) == "renewal"
    after = renewed(host)
    assert after is not None
    assert after.metadata.timestamp > decision.metadata.timestamp
    assert replace(after, metadata=decision.metadata) == decision
    found = kept_start(host)
    assert isinstance(found, Start)
    assert found.decision == after
    assert host.talk("echo", INITIALIZE, call(2, "echo"))[1]["id"] == 2


def deny(world: World, host: Host) -> None:
    path = world.entries["echo"].path
    world.allow("echo", path, digest=Sha256("0" * 64))


def revoke_another(world: World, host: Host) -> None:
    world.revoke("publisher", "org.elsewhere")


def take_approver_file(world: World, host: Host) -> None:
    target = "trust/approvers.json"
    data = world.desk.repository.target(target) or b""
    world.publish_role("targets", {target: data.replace(b'"alice"', b'"alicia"')})


def change_ceiling(world: World, host: Host) -> None:
    (host.places.home / "config.toml").write_text('limits = "required"\n')


def forget_proof(world: World, host: Host) -> None:
    for place in host.places.kept.glob("proof-*"):
        place.unlink()


def empty_store(world: World, host: Host) -> None:
    subprocess.run(["/bin/rm", "-rf", str(host.places.store)], check=True)


@pytest.mark.parametrize(
    "change",
    [deny, revoke_another, take_approver_file, change_ceiling, forget_proof, empty_store],
)
def test_a_decision_is_not_renewed_where_anything_it_rests_on_has_changed(
    served: tuple[World, Host, LaunchDecision], change: Callable[[World, Host], None]
) -> None:
    world, host, _ = served
    world.desk.repository.refresh(datetime.now(UTC) + timedelta(seconds=1))
    assert renewed(host) is not None, "the control"
    change(world, host)
    world.desk.repository.refresh(datetime.now(UTC) + timedelta(seconds=2))
    before = Kept(host.places).decision("echo")
    assert renewed(host) is None
    assert Kept(host.places).decision("echo") == before


def test_nothing_is_renewed_by_a_clock_that_is_wrong(
    served: tuple[World, Host, LaunchDecision],
) -> None:
    _, host, _ = served
    assert renewed(host, ahead=-timedelta(days=1)) is None
    assert renewed(host, ahead=timedelta(days=1)) is None
    assert renewed(host) is not None


def test_a_revocation_ends_renewal_and_start(served: tuple[World, Host, LaunchDecision]) -> None:
    world, host, _ = served
    world.revoke("publisher", NAMESPACE)
    host.minutes_pass()
    assert kept_start(host) == "renewal"
    assert renewed(host) is None
    with pytest.raises(McpsError) as caught:
        host.resolve("echo")
    assert caught.value.code == "revoked"
    assert kept_start(host) == "proof"


def test_a_frozen_registry_is_borne_by_low_tiers_and_not_by_high(own_world: World) -> None:
    for alias, tier in (("low", "low"), ("high", "high")):
        release = own_world.release(alias)
        own_world.vet(alias, release, tier=tier)
    host = own_world.host("host")
    for alias in ("low", "high"):
        host.resolve(alias)
    host.minutes_pass()
    later = timedelta(minutes=61)
    assert isinstance(kept_start(host, "low", ahead=later), Start)
    host.minutes_pass()
    with pytest.raises(McpsError) as caught:
        kept_start(host, "high", ahead=later)
    assert caught.value.code == "freeze-suspected"
    # That a lower tier has just asked, and bears it, lets the higher one start no more.
    assert isinstance(kept_start(host, "low", ahead=later), Start)
    with pytest.raises(McpsError) as caught:
        kept_start(host, "high", ahead=later)
    assert caught.value.code == "freeze-suspected"
    with pytest.raises(McpsError) as caught:
        host.resolve("high", ahead=later)
    assert caught.value.code == "freeze-suspected"
    assert host.resolve("high").tier == "high"


def test_a_frozen_registry_is_borne_no_longer_than_one_that_is_away(own_world: World) -> None:
    own_world.vet("normal", own_world.release("normal"), tier="normal")
    host = own_world.host("host")
    assert host.resolve("normal", ahead=timedelta(hours=71)).tier == "normal"
    host.minutes_pass()
    for ask in (kept_start, Host.resolve):
        with pytest.raises(McpsError) as caught:
            ask(host, "normal", ahead=timedelta(hours=73))
        assert caught.value.code == "freeze-suspected"
    assert host.resolve("normal").tier == "normal"


def test_an_expired_timestamp_is_refused(served: tuple[World, Host, LaunchDecision]) -> None:
    _, host, decision = served
    with pytest.raises(McpsError) as caught:
        host.resolve("echo", ahead=timedelta(days=8))
    assert caught.value.code == "metadata-expired"
    assert kept_start(host, ahead=timedelta(days=8)) == "proof"
    assert host.resolve("echo").entry == decision.entry


def test_a_registry_that_swallows_packets_costs_one_connect_budget(
    served: tuple[World, Host, LaunchDecision],
) -> None:
    """A listening socket whose queue is full answers no connection."""
    import socket

    _, host, _ = served
    host.minutes_pass()
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        (host.places.home / "config.toml").write_text(f'[http]\nproxy = "127.0.0.1:{port}"\n')
        began = time.monotonic()
        answers = host.talk("echo", INITIALIZE, call(2, "echo"))
        seconds = time.monotonic() - began
    assert answers[1]["id"] == 2
    assert 1.5 < seconds < 8, "2 s to connect, once, and what a start takes on a slow machine"


def test_the_warm_path_imports_no_heavy_library(world: World, host: Host) -> None:
    """Importing sigstore costs 0.2 s and 30 MB; the process that stays must do without."""
    world.serve("echo")
    host.resolve("echo")
    command = host.command("echo")
    command[1:1] = ["-X", "importtime"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False)
    imported = {line.rpartition("|")[2].strip().partition(".")[0]
                for line in done.stderr.decode().splitlines() if "import time" in line}  # fmt: skip
    assert "mcps_launcher" in imported and "json" in imported
    heavy = "sigstore tuf securesystemslib pydantic requests urllib3 mcp docker cryptography click"
    assert not imported & set(heavy.split())
    assert re.search(rb"mcps_launcher\.conversation", done.stderr)
