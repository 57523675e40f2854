"""Locks: every dependency by hash, no URL, the same bytes from the same input."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcps_launcher.install.fetch import FetchSettings, fetch_tarballs
from mcps_registry.review.draft import draft_entry
from mcps_registry.review.index_comparison import compare_with_index
from mcps_signer.closure.npm import lock_npm
from mcps_signer.closure.pypi import lock_pypi
from mcps_signer.closure.source import Source
from mcps_trust.errors import McpsError
from mcps_trust.model.digest import Sha256
from mcps_trust.model.package_lock import NodeClosure
from mcps_trust.model.pylock import PythonClosure
from simulators.package_index import PackageIndex
from wheels import sha256, write_lock, write_wheel
from worlds import World

BEFORE = "2026-06-01T00:00:00Z"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """Three Python packages, of which one needs another; and the like from npm."""
    made = PackageIndex()
    made.add_wheel(write_wheel(tmp_path, "alpha", "1.0", {"alpha.py": b""}, requires=("beta>=1",)))
    made.add_wheel(write_wheel(tmp_path, "beta", "1.5", {"beta.py": b""}))
    made.add_wheel(write_wheel(tmp_path, "unused", "1.0", {"unused.py": b""}))
    made.add_tarball("@example/alpha", "1.0.0", dependencies={"beta": "^1.0.0"})
    made.add_tarball("beta", "1.5.0")
    yield made
    made.close()


def code_of(source: str, index: PackageIndex) -> str:
    parsed = Source.parse(source)
    with pytest.raises(McpsError) as caught:
        if parsed.kind == "npm":
            lock_npm(parsed, before=BEFORE, registry=index.npm)
        else:
            lock_pypi(parsed, before=BEFORE, index=index.pypi)
    return caught.value.code


def test_a_python_lock_names_every_wheel_by_hash_and_no_address(index: PackageIndex) -> None:
    source = Source.parse("pypi:Alpha==1.0")
    first = lock_pypi(source, before=BEFORE, index=index.pypi)
    assert b"http" not in first.lock
    closure = PythonClosure.parse(first.lock)
    assert {(w.name, w.version) for w in closure.files()} == {("alpha", "1.0"), ("beta", "1.5")}
    assert lock_pypi(source, before=BEFORE, index=index.pypi).lock == first.lock
    assert not first.artifacts


def test_a_node_lock_has_an_integrity_for_every_tarball_and_no_address(
    index: PackageIndex,
) -> None:
    source = Source.parse("npm:@example/alpha@1.0.0")
    first = lock_npm(source, before=BEFORE, registry=index.npm)
    assert b"http" not in first.lock
    closure = NodeClosure.parse(first.lock)
    assert {(t.name, t.version) for t in closure.files()} == {
        ("@example/alpha", "1.0.0"), ("beta", "1.5.0"),
    }  # fmt: skip
    assert lock_npm(source, before=BEFORE, registry=index.npm).lock == first.lock


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("pypi:alpha==9.9", "resolver-failed"),
        ("pypi:nothing==1.0", "resolver-failed"),
        ("npm:beta@9.9.9", "resolver-failed"),
        ("npm:nothing@1.0.0", "resolver-failed"),
    ],
)
def test_what_is_not_there_cannot_be_locked(index: PackageIndex, source: str, code: str) -> None:
    assert code_of(source, index) == code
    assert lock_pypi(Source.parse("pypi:beta==1.5"), before=BEFORE, index=index.pypi).lock


def test_what_is_there_only_for_another_machine_cannot_be_locked(
    index: PackageIndex, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path, "gamma", "1.0", {"gamma.py": b""})
    index.add_wheel(wheel.rename(tmp_path / "gamma-1.0-py3-none-win_amd64.whl"))
    assert code_of("pypi:gamma==1.0", index) in ("no-wheel", "resolver-failed")


@pytest.mark.parametrize(
    "text",
    ["alpha", "pypi:alpha", "pypi:alpha>=1", "npm:beta", "npm:beta@latest", "git+https://x", ""],
)
def test_a_source_without_an_exact_version_is_none(text: str) -> None:
    with pytest.raises(McpsError) as caught:
        Source.parse(text)
    assert caught.value.code == "bad-source"
    assert Source.parse("npm:@a/b@1.2.3").name == "@a/b"


def test_tarballs_are_fetched_once_and_held_to_their_hash(
    index: PackageIndex, tmp_path: Path
) -> None:
    lock = lock_npm(Source.parse("npm:@example/alpha@1.0.0"), before=BEFORE, registry=index.npm)
    tarballs = NodeClosure.parse(lock.lock).files()
    settings = FetchSettings(tmp_path / "cache", registry=None, npm=index.npm)
    places = fetch_tarballs(tarballs, settings)
    assert len(places) == 2
    index.close()
    assert fetch_tarballs(tarballs, settings) == places
    empty = FetchSettings(tmp_path / "empty", registry=None, npm=index.npm)
    with pytest.raises(McpsError) as caught:
        fetch_tarballs(tarballs, empty)
    assert caught.value.code == "package-unavailable"


def test_a_tarball_with_another_hash_is_not_kept(index: PackageIndex, tmp_path: Path) -> None:
    lock = lock_npm(Source.parse("npm:beta@1.5.0"), before=BEFORE, registry=index.npm)
    tarballs = NodeClosure.parse(lock.lock).files()
    index.add_tarball("beta", "1.5.0", files={"evil.js": b"1"})
    settings = FetchSettings(tmp_path / "cache", registry=None, npm=index.npm)
    with pytest.raises(McpsError) as caught:
        fetch_tarballs(tarballs, settings)
    assert caught.value.code == "package-unavailable"
    assert list(settings.cache.iterdir()) == []


# the registry's side ----------------------------------------------------------------------


def test_a_wheel_that_the_index_knows_otherwise_is_shown(
    index: PackageIndex, tmp_path: Path
) -> None:
    """The lock has another wheel's hash under a name that everybody trusts."""
    genuine = lock_pypi(Source.parse("pypi:alpha==1.0"), before=BEFORE, index=index.pypi)
    found = compare_with_index([PythonClosure.parse(genuine.lock)], pypi=index.pypi)
    assert (found.matched, found.unmatched) == (2, ())
    (tmp_path / "other").mkdir()
    substituted = write_wheel(tmp_path / "other", "beta", "1.5", {"beta.py": b"import evil"})
    lock = write_lock({("beta", "1.5"): substituted})
    found = compare_with_index([PythonClosure.parse(lock)], pypi=index.pypi)
    assert found.matched == 0
    assert found.unmatched == ("pkg:pypi/beta@1.5 beta-1.5-py3-none-any.whl",)


def test_a_package_that_no_index_has_is_shown(index: PackageIndex, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own = write_wheel(tmp_path / "own", "own", "1.0", {"own.py": b""})
    both = {("own", "1.0"): own, ("beta", "1.5"): tmp_path / "beta-1.5-py3-none-any.whl"}
    found = compare_with_index([PythonClosure.parse(write_lock(both))], pypi=index.pypi)
    assert (found.matched, found.unmatched) == (1, ("pkg:pypi/own@1.0 own-1.0-py3-none-any.whl",))


def test_a_tarball_that_the_registry_knows_otherwise_is_shown(index: PackageIndex) -> None:
    lock = lock_npm(Source.parse("npm:@example/alpha@1.0.0"), before=BEFORE, registry=index.npm)
    closure = NodeClosure.parse(lock.lock)
    assert compare_with_index([closure], npm=index.npm).unmatched == ()
    index.replace_tarball("beta", "1.5.0", "sha512-" + "A" * 86 + "==")
    found = compare_with_index([closure], npm=index.npm)
    assert (found.matched, found.unmatched) == (1, ("pkg:npm/beta@1.5.0",))


def test_an_index_that_does_not_answer_is_not_taken_for_one_that_agrees(
    index: PackageIndex,
) -> None:
    pypi = lock_pypi(Source.parse("pypi:beta==1.5"), before=BEFORE, index=index.pypi)
    npm = lock_npm(Source.parse("npm:beta@1.5.0"), before=BEFORE, registry=index.npm)
    index.close()
    for closures in ([PythonClosure.parse(pypi.lock)], [NodeClosure.parse(npm.lock)]):
        with pytest.raises(McpsError) as caught:
            compare_with_index(closures, pypi=index.pypi, npm=index.npm)
        assert caught.value.code == "index-unavailable"


def test_the_index_is_the_one_that_this_user_has_configured(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not what lies in the current folder, which may be anybody's."""
    home, here = tmp_path / "home", tmp_path / "here"
    (home / ".config/uv").mkdir(parents=True)
    here.mkdir()
    empty = PackageIndex()
    (here / "uv.toml").write_text(f'index-url = "{empty.pypi}"\n')
    (home / ".config/uv/uv.toml").write_text(f'index-url = "{index.pypi}"\n')
    user = pwd.getpwuid(os.geteuid())
    entry = pwd.struct_passwd((*user[:5], str(home), user[6]))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: entry)
    monkeypatch.chdir(here)
    monkeypatch.setenv("UV_DEFAULT_INDEX", empty.pypi)
    source = Source.parse("pypi:alpha==1.0")
    lock = lock_pypi(source, before=BEFORE).lock
    assert lock == lock_pypi(source, before=BEFORE, index=index.pypi).lock
    assert compare_with_index([PythonClosure.parse(lock)]).unmatched == ()
    assert not empty.asked
    empty.close()


@pytest.mark.bwrap
def test_a_surprising_file_is_refused_until_it_is_named(world: World) -> None:
    release = world.release("echo")
    item = world.submit(release)
    draft = world.draft(release, item)
    name = "echo_server-1.0.0-py3-none-any.whl"
    artifacts = replace(draft.artifacts, unmatched=(f"pkg:pypi/echo-server@1.0.0 {name}",))
    arguments = {
        "release": Sha256(item["release"]), "bundle": (draft.bundle_sha256, draft.bundle_size),
        "identity": draft.identity, "revision": 1, "artifacts": artifacts, "grant": draft.grant,
        "tools": draft.tools, "withheld": frozenset({"hidden"}), "tier": "low", "notes": "",
        "now": datetime.now(UTC),
    }  # fmt: skip
    with pytest.raises(McpsError) as caught:
        draft_entry(release.statement, allow_unindexed=frozenset(), **arguments)  # type: ignore[arg-type]  # one dict of many kinds
    assert caught.value.code == "unindexed-files"
    assert name in str(caught.value.found)
    entry = draft_entry(release.statement, allow_unindexed=frozenset({name}), **arguments)  # type: ignore[arg-type]  # likewise
    first = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    drafts = [
        draft_entry(release.statement, allow_unindexed=frozenset({name}),
                    **{**arguments, "now": first + timedelta(hours=hours)})  # type: ignore[arg-type]  # likewise
        for hours in (0, 23, 24)
    ]  # fmt: skip
    assert drafts[0] == drafts[1] != drafts[2], "two approvers on one day sign the same"
    assert entry.artifacts.unmatched == artifacts.unmatched


def test_the_simulator_says_what_it_has(index: PackageIndex, tmp_path: Path) -> None:
    """The other tests rest on it."""
    wheel = tmp_path / "alpha-1.0-py3-none-any.whl"
    kind, body = index._content("simple/alpha/")
    assert "pypi.simple" in kind
    assert json.loads(body)["files"][0]["hashes"]["sha256"] == sha256(wheel.read_bytes())
    kind, body = index._content("npm/beta/1.5.0")
    assert json.loads(body)["dist"]["integrity"].startswith("sha512-")
    assert index._content("simple/nothing/") == ("", b"not here")
