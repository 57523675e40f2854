"""Installing real closures, against the tools that are known for it."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from measure import Row, interleave, run_quietly, seconds_of

from mcps_launcher.install.bytecode import compile_closure
from mcps_launcher.install.closure import Selection, select_files, unpack
from mcps_launcher.install.fetch import FetchSettings, fetch_tarballs, fetch_wheels
from mcps_launcher.install.runtime import Runtime, find_runtime
from mcps_launcher.install.store import Store, content_digest
from mcps_launcher.sandbox.bwrap import Bwrap
from mcps_signer.closure.source import Source
from mcps_signer.release import lock_source
from mcps_trust.model.closure import parse_closure
from mcps_trust.model.digest import sha256
from mcps_trust.model.package_lock import LockedTarball
from mcps_trust.model.pylock import LockedWheel

ROOT = Path(__file__).resolve().parent.parent
WHEELS = "pypi:mcp-server-time==2026.10.19"
TARBALLS = "npm:@modelcontextprotocol/server-filesystem@2026.8.31"


def installs(folder: Path, cache: Path, rounds: int) -> list[Row]:
    """A closure of wheels and one of tarballs."""
    fetch = FetchSettings(cache, registry=None)
    return [*wheels(folder, fetch, rounds), *tarballs(folder, fetch, rounds)]


def wheels(folder: Path, fetch: FetchSettings, rounds: int) -> list[Row]:
    """Against ``uv pip install`` of the same files."""
    runtime = find_runtime("python", ">=3.11")
    selection = select(WHEELS, runtime)
    named = folder / "wheels"
    named.mkdir()
    places = fetch_wheels(
        [file for file in selection.files if isinstance(file, LockedWheel)], fetch
    )
    for filename, place in places.items():
        os.link(shutil.copy(place, folder / "copy"), named / filename)
        (folder / "copy").unlink()
    uv = str(ROOT / ".tools" / "uv" / "bin" / "uv")

    def with_uv() -> None:
        target = tempfile.mkdtemp(dir=folder)
        run_quietly([uv, "pip", "install", "--no-deps", "--offline", "--no-cache", "--no-config",
                     "--python", runtime.path, "--target", target,
                     *(str(named / filename) for filename in places)])  # fmt: skip

    found = interleave({
        "uv": lambda: seconds_of(with_uv),
        "ours": lambda: seconds_of(lambda: install(selection, fetch, folder)),
    }, rounds)  # fmt: skip
    compiling, digests = compiled(selection, runtime, fetch, folder)
    return [
        Row(f"`uv pip install`, {len(places)} wheels", milliseconds(found["uv"])),
        Row(f"install a closure of {len(places)} wheels", milliseconds(found["ours"]),
            found["ours"] / found["uv"], 1.2),
        Row("its bytecode, in the sandbox", milliseconds(compiling)),
        Row("different trees after three installations", str(len(digests) - 1),
            len(digests) - 1, 0, ""),
    ]  # fmt: skip


def tarballs(folder: Path, fetch: FetchSettings, rounds: int) -> list[Row]:
    """Against ``tar`` of the same files."""
    selection = select(TARBALLS, find_runtime("node", ">=18"))
    places = fetch_tarballs(
        [file for file in selection.files if isinstance(file, LockedTarball)], fetch
    )

    def with_tar() -> None:
        target = Path(tempfile.mkdtemp(dir=folder))
        for name, place in places.items():
            (target / name).mkdir(parents=True)
            run_quietly(["/usr/bin/tar", "-xzf", str(place), "-C", str(target / name),
                         "--strip-components=1", "--no-same-owner"])  # fmt: skip

    found = interleave({
        "tar": lambda: seconds_of(with_tar),
        "ours": lambda: seconds_of(lambda: install(selection, fetch, folder)),
    }, rounds)  # fmt: skip
    return [
        Row(f"`tar`, {len(places)} tarballs", milliseconds(found["tar"])),
        Row(f"install a closure of {len(places)} tarballs", milliseconds(found["ours"]),
            found["ours"] / found["tar"], 2),
    ]  # fmt: skip


def select(source: str, runtime: Runtime) -> Selection:
    """Lock a package, and select what this machine installs of it."""
    locked = lock_source(
        Source.parse(source), before=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    closure = parse_closure(locked.source.kind, locked.lock)
    return select_files(closure, sha256(locked.lock), runtime)


def install(selection: Selection, fetch: FetchSettings, folder: Path) -> Store:
    """Check, unpack and put into a new store."""
    store = Store(Path(tempfile.mkdtemp(dir=folder)))
    with store.installing(selection.key):
        store.add(selection.key, unpack(selection, fetch))
    return store


def compiled(
    selection: Selection, runtime: Runtime, fetch: FetchSettings, folder: Path
) -> tuple[float, set[str]]:
    """Seconds to compile, and the digests that three whole installations have."""
    digests, seconds = set(), []
    for _ in range(3):
        store = install(selection, fetch, folder)
        installed = store.find(selection.key)
        assert installed is not None
        began = time.monotonic()
        session = f"bench-{secrets.token_hex(4)}"
        store.add_bytecode(installed, compile_closure(installed, runtime, Bwrap(folder), session))
        seconds.append(time.monotonic() - began)
        assert installed.bytecode is not None
        digests.add(content_digest(installed.tree) + content_digest(installed.bytecode))
    return sorted(seconds)[1], digests


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
