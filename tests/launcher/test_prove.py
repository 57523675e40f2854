"""The prover, and the questions that are asked of it while a server runs."""

from __future__ import annotations

import gc
import io
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import mcps_launcher.recheck as recheck_module
from hosts import Host
from mcps_launcher import prove
from mcps_launcher.kept import Kept
from mcps_launcher.prove import main, prove_in_child, read_answer
from mcps_launcher.recheck import Recheck
from mcps_trust.errors import InternalError, McpsError
from mcps_trust.model.allow_list import Tightening
from mcps_trust.model.decision import LaunchDecision
from worlds import World, free_port

pytestmark = pytest.mark.bwrap


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The prover sets an alarm for itself, and takes Ctrl-C; here it is not a process of its own."""
    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGINT)
    yield
    gc.enable()
    signal.alarm(0)
    signal.signal(signal.SIGINT, handler)
    sys.unraisablehook = hook


def answer(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **request: Any
) -> tuple[int, dict[str, Any], str]:
    """What the prover says, as a part of this process."""
    asked = {"alias": "echo", "home": str(host.places.home), "quiet": False, "offline": False}
    monkeypatch.setattr(sys, "argv", ["prove", json.dumps({**asked, **request})])
    code = main()
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_the_prover_says_what_it_decided(
    world: World, host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.serve("echo")
    code, document, words = answer(host, monkeypatch, capsys)
    kept = Kept(host.places).decision("echo")
    assert kept is not None and (code, document) == (0, {"decision": kept.digest})
    assert "… reading the registry's metadata" in words
    running = io.TextIOWrapper(io.BytesIO(kept.to_bytes()))
    monkeypatch.setattr(sys, "stdin", running)
    code, document, words = answer(host, monkeypatch, capsys, quiet=True)
    assert (code, words) == (0, ""), "renewed, in silence"
    code, document, _ = answer(host, monkeypatch, capsys, alias="nothing")
    assert (code, document["error"]["code"]) == (77, "alias-unknown")
    code, document, _ = answer(host, monkeypatch, capsys, offline=True)
    assert code == 0, "from the cache"


def test_a_failure_of_the_prover_is_an_answer_too(
    world: World, host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.serve("echo")

    def fail(*_words: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr("mcps_launcher.back_ends.choose_back_end", fail)
    code, document, _ = answer(host, monkeypatch, capsys)
    assert (code, document["error"]["code"]) == (70, "internal")

    def interrupt(*_words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mcps_launcher.back_ends.choose_back_end", interrupt)
    monkeypatch.setattr(sys, "argv", ["prove", sys.argv[1]])
    assert main() == 130
    with pytest.raises(InternalError):
        read_answer(b"", 130)


def test_a_prover_that_takes_too_long_is_ended(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own children with it; the advice is to fetch the server beforehand."""
    marker = tmp_path / "lives"
    script = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"open({str(marker)!r}, 'w').write('x')\n"
        "time.sleep(60)\n"
    )
    stubborn = [sys.executable, "-I", "-c", script]
    monkeypatch.setattr(prove, "command", lambda *_words, **_options: stubborn)
    monkeypatch.setattr(prove, "FIRST_START_SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(McpsError) as caught:
        prove_in_child("echo", host.places.home)
    assert caught.value.code == "not-ready" and "prefetch" in caught.value.remedy
    assert marker.exists() and time.monotonic() - began < 20


# while a server runs --------------------------------------------------------------------------


def decided(world: World, host: Host) -> LaunchDecision:
    world.serve("echo")
    return host.resolve("echo")


def reason(recheck: Recheck, seconds: float = 60) -> str | None:
    """The first answer to a question that is asked now."""
    assert recheck.tick() is None
    deadline = time.monotonic() + seconds
    found = None
    while found is None and recheck._child is not None and time.monotonic() < deadline:
        time.sleep(0.02)
        found = recheck.tick()
    return found


def test_a_server_whose_decision_still_holds_runs_on(world: World, host: Host) -> None:
    recheck = Recheck(decided(world, host), host.places, 0.0)
    assert reason(recheck) is None
    recheck.stop()
    later = Recheck(host.resolve("echo"), host.places, 300.0)
    assert later.tick() is None and later._child is None, "not before its time"
    later.stop()


def test_a_revocation_or_other_terms_end_the_session(own_world: World) -> None:
    host = own_world.host("rechecked")
    decision = decided(own_world, host)
    own_world.allow(
        "echo", own_world.entries["echo"].path, tighten=Tightening(deny_tools=("delete",))
    )
    assert reason(Recheck(decision, host.places, 0.0)) == "terms-changed"
    decision = host.resolve("echo")
    own_world.revoke("publisher", "org.example")
    assert reason(Recheck(decision, host.places, 0.0)) == "revoked"


def test_what_becomes_of_an_alias_keeps_nothing_running(own_world: World) -> None:
    """Its successor cannot be had; that says nothing about what runs."""
    host = own_world.host("moved")
    decision = decided(own_world, host)
    release = own_world.release("echo", "2.0.0")
    package = replace(release.statement.packages[0], runtime_requirement=">=3.99")
    release = replace(release, statement=replace(release.statement, packages=(package,)))
    successor = own_world.approve(own_world.draft(release, own_world.submit(release)))
    assert reason(Recheck(decision, host.places, 0.0)) is None, "until the team allows it"
    own_world.allow("echo", successor.path)
    assert reason(Recheck(decision, host.places, 0.0)) == "terms-changed"
    own_world.revoke("digest", str(decision.release))
    assert reason(Recheck(decision, host.places, 0.0)) == "revoked"
    with pytest.raises(McpsError) as caught:
        host.resolve("echo")
    assert caught.value.code == "no-runtime"


@pytest.mark.parametrize(
    ("take", "code"),
    [
        (lambda host, decision: (host.places.blobs / decision.closure).unlink(), "evidence-lost"),
        (lambda host, decision: (host.places.kept / f"proof-{decision.bundle}.json").unlink(),
         "evidence-lost"),
        (lambda host, _: host.places.enrolment.unlink(), "not-enrolled"),
        (lambda host, _: host.places.configuration.write_text("limits = 'required'"),
         "terms-changed"),
    ],
    ids=["its lock", "its proof", "the enrolment", "the configuration"],
)  # fmt: skip
def test_a_session_does_not_outlive_what_it_rests_on(
    world: World, host: Host, take: Callable[[Host, LaunchDecision], object], code: str
) -> None:
    decision = decided(world, host)
    assert reason(Recheck(decision, host.places, 0.0)) is None
    take(host, decision)
    assert reason(Recheck(decision, host.places, 0.0)) == code


def test_what_a_host_knows_holds_without_the_registry(own_world: World) -> None:
    """Another server's start has fetched the revocation; then the network is gone."""
    host = own_world.host("knows")
    decision = decided(own_world, host)
    own_world.serve("other")
    own_world.revoke("digest", str(decision.release))
    host.resolve("other")
    host.places.configuration.write_text(f"[http]\nproxy = '127.0.0.1:{free_port()}'\n")
    assert reason(Recheck(decision, host.places, 0.0)) == "revoked"
    other = Kept(host.places).decision("other")
    assert other is not None and reason(Recheck(other, host.places, 0.0)) is None, "borne"


def test_a_registry_that_is_away_is_borne_for_as_long_as_the_tier_says(
    world: World, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = decided(world, host)
    recheck = Recheck(decision, host.places, 0.0)
    unreachable = b'{"error": {"code": "registry-unavailable", "what": "away"}}'

    def judged(output: bytes, code: int) -> str | None:
        recheck._output = io.BytesIO(output)
        return recheck._judge(code)

    assert judged(unreachable, 69) is None
    assert judged(b"", -9) is None, "a prover that was killed says nothing"
    assert judged(b'{"error": {"code": "offline-too-long", "what": "x"}}', 69) == "offline-too-long"
    assert judged(b'{"error": {"code": "metadata-rolled-back", "what": "x"}}', 65) == (
        "metadata-rolled-back"
    )
    assert judged(b'{"decision": "x"}', 0) is None

    long_ago = datetime.now(UTC) - timedelta(days=8)
    monkeypatch.setattr(Kept, "latest_time", lambda _kept: long_ago)
    assert judged(unreachable, 69) == "offline-too-long"


def test_a_question_that_gets_no_answer_is_given_up(
    world: World, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = decided(world, host)
    monkeypatch.setattr(recheck_module, "_RECHECK_SECONDS", 0.2)
    sleeping = [sys.executable, "-I", "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(recheck_module, "command", lambda *_words, **_options: sleeping)
    recheck = Recheck(decision, host.places, 0.0)
    assert reason(recheck, 20) is None
    assert recheck.tick() is None
    child = recheck._child
    assert child is not None, "and asked again"
    recheck.stop()
    assert child.returncode != 0
