"""Files that processes share, Ctrl-C before there is anything to clean up, and a cache alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcps_trust.errors import McpsError
from mcps_trust.http import Http
from mcps_trust.http_settings import HttpSettings
from mcps_trust.interrupts import die_by_interrupt, raise_interrupt
from mcps_trust.locked_file import exclusive, is_held, make_private_directory, write_atomically
from mcps_trust.tuf.client import check_times, open_registry
from worlds import TEAM, World

TARGET = f"teams/{TEAM}/allow-list.json"


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(McpsError) as caught:
        call()
    return caught.value.code


# files --------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "file"
    write_atomically(place, b"old", mode=0o640)
    assert (place.read_bytes(), place.stat().st_mode & 0o777) == (b"old", 0o640)

    def full(*_words: object) -> None:
        raise OSError(28, "No space left on device")

    for call in ("fsync", "replace", "fchmod"):
        with monkeypatch.context() as broken:
            broken.setattr(os, call, full)
            assert code_of(lambda: write_atomically(place, b"new")) == "not-writable"
        assert place.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]
    assert code_of(lambda: write_atomically(tmp_path / "none" / "file", b"x")) == "not-writable"
    assert code_of(lambda: make_private_directory(place / "below")) == "not-writable"
    write_atomically(place, b"new", durable=False)
    assert place.read_bytes() == b"new"


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    place = tmp_path / "lock"
    assert not is_held(place)
    with exclusive(place):
        assert is_held(place)
    assert not is_held(place)
    assert code_of(lambda: exclusive(tmp_path / "none" / "lock").__enter__()) == "not-writable"


# Ctrl-C --------------------------------------------------------------------------------------


def test_ctrl_c_ends_a_command_in_silence_or_is_left_to_be_ignored() -> None:
    script = (
        "import os, signal, sys\n"
        "from mcps_trust.interrupts import die_by_interrupt, raise_interrupt\n"
        "if sys.argv[1] == 'ignored': signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "(raise_interrupt if sys.argv[2] == 'raise' else die_by_interrupt)()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(3)\n"
        "sys.exit(4)\n"
    )
    for words, code in ((("caught", "raise"), 3), (("caught", "die"), -signal.SIGINT),
                        (("ignored", "raise"), 4), (("ignored", "die"), 4)):  # fmt: skip
        done = subprocess.run([sys.executable, "-I", "-c", script, *words], capture_output=True,
                              check=False)  # fmt: skip
        assert (done.returncode, done.stderr) == (code, b"")


def test_only_interrupts_are_passed_over_where_nothing_can_be_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    monkeypatch.setattr(sys, "__unraisablehook__", told.append)
    try:
        raise_interrupt()
        for error in (KeyboardInterrupt(), ValueError()):
            sys.unraisablehook(Unraisable(error))  # type: ignore[arg-type]  # of the same form
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        die_by_interrupt()
        raise_interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before[0])
        sys.unraisablehook = before[1]
    assert [type(item.exc_value) for item in told] == [ValueError]  # type: ignore[attr-defined]


class Unraisable:
    """What Python hands to the hook."""

    def __init__(self, error: BaseException) -> None:
        self.exc_value = error


# the cache of a registry -----------------------------------------------------------------------


def root_of(world: World) -> bytes:
    return (world.desk.folder.public / "metadata/1.root.json").read_bytes()


def test_a_cache_answers_for_itself_and_for_no_more(world: World, tmp_path: Path) -> None:
    root = root_of(world)
    with open_registry(tmp_path, world.url, root, None) as empty:
        assert code_of(empty.refresh) == "registry-unavailable"
    with Http(HttpSettings()) as http, open_registry(tmp_path, world.url, root, http) as registry:
        registry.refresh()
        data, state = registry.target(TARGET), registry.state()
    with open_registry(tmp_path, world.url, root, None) as offline:
        offline.refresh()
        assert offline.target(TARGET) == data and offline.state() == state
        assert code_of(lambda: offline.target("trust/approvers.json")) == "registry-unavailable"
        assert code_of(lambda: offline.target("nothing/x.json")) == "target-missing"


def test_a_state_has_a_time_that_is_neither_past_nor_future(world: World, tmp_path: Path) -> None:
    root, slack = root_of(world), timedelta(minutes=5)
    with Http(HttpSettings()) as http, open_registry(tmp_path, world.url, root, http) as registry:
        registry.refresh()
        registry.target(TARGET)
        state = registry.state()
        check_times(state, datetime.now(UTC), slack)
        long_ago = state.issued - timedelta(hours=1)
        assert code_of(lambda: check_times(state, long_ago, slack)) == "metadata-invalid"
        assert code_of(lambda: check_times(state, state.expires, slack)) == "metadata-expired"
        place = tmp_path / "metadata/timestamp.json"
        document = json.loads(place.read_bytes())
        for issued in (None, "yesterday"):
            document["signed"].pop("x-mcps-issued", None)
            if issued is not None:
                document["signed"]["x-mcps-issued"] = issued
            place.write_text(json.dumps(document))
            assert code_of(registry.state) == "metadata-invalid"


def test_a_cache_that_cannot_be_used_is_said_to_be_so(world: World, tmp_path: Path) -> None:
    root = root_of(world)
    (tmp_path / "targets").mkdir()
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/timestamp.json").mkdir()
    with Http(HttpSettings()) as http, open_registry(tmp_path, world.url, root, http) as registry:
        assert code_of(registry.refresh) in ("not-writable", "metadata-invalid")
    (tmp_path / "metadata/timestamp.json").rmdir()
    with Http(HttpSettings()) as http, open_registry(tmp_path, world.url, root, http) as registry:
        registry.refresh()
        assert registry.target(TARGET)
