"""Measure what verification, sandbox and guard cost: ``make bench``.

One run, on the registry of the tests (loopback) and on real servers from PyPI and npm, which
are fetched once. Cases that are compared run in turn. ``benchmarks/run.py messages starts``
measures those parts only, and then writes nothing.
"""

from __future__ import annotations

import compileall
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks"), str(ROOT / "tools")]

from installs import installs  # noqa: E402
from measure import Row, table  # noqa: E402
from messages import memory, messages  # noqa: E402
from run_tests import answers, start_engine  # noqa: E402
from starts import sdk_starts, starts  # noqa: E402
from verification import verifications  # noqa: E402

from mcps_launcher.install.fetch import FetchSettings  # noqa: E402
from mcps_signer.release import Project, build_release  # noqa: E402
from mcps_trust.locked_file import make_private_directory  # noqa: E402
from mcps_trust.model.index import Index  # noqa: E402
from mcps_trust.model.vetting import ToolRule  # noqa: E402
from worlds import Host, World, make_world, remove  # noqa: E402

ROUNDS = 15


def main() -> int:
    """Measure all parts, or those that are named."""
    # An installed launcher has its bytecode; so must the one that is measured.
    for room in ("trust", "launcher"):
        compileall.compile_dir(ROOT / room, quiet=1)
    wanted = sys.argv[1:]
    engine = None if answers() else start_engine()
    folder = Path(tempfile.mkdtemp(prefix="mcps-bench-"))
    folder.chmod(0o755)  # the engine's user 65532 reads below it
    cache = make_private_directory(ROOT / ".tools" / "bench-packages")
    world, end = make_world(folder)
    rows: list[Row] = []
    try:
        for name, part in parts(world, folder, cache).items():
            if not wanted or name in wanted:
                print(f"measuring: {name}", flush=True)
                rows += part()
    finally:
        end()
        remove(folder)
        if engine is not None:
            engine.terminate()
            engine.wait(30)
    text = table(rows, ROUNDS)
    if not wanted:
        (ROOT / "benchmarks" / "RESULTS.md").write_text(text, "utf-8")
    print(text)
    return 0


def parts(world: World, folder: Path, cache: Path) -> dict[str, Callable[[], list[Row]]]:
    """What is measured, by name."""
    world.serve("echo")

    def host(name: str) -> Host:
        made = world.host(name)
        made.resolve("echo")
        return made

    return {
        "starts": lambda: starts(host("starts"), folder, ROUNDS),
        "sdk": lambda: sdk_starts(real_servers(world, cache), folder, ROUNDS),
        "messages": lambda: messages(host("messages"), folder),
        "memory": lambda: memory(host("memory")),
        "installs": lambda: installs(folder, cache, ROUNDS),
        "verification": lambda: verifications(host("verification"), folder, ROUNDS),
    }


def real_servers(world: World, cache: Path) -> Host:
    """A host that may start servers of index.json."""
    index = Index.parse((ROOT / "index.json").read_bytes())
    host = world.host("real")
    fetch = FetchSettings(cache, registry=None)
    for alias in ("clock", "everything"):
        profile = index.find(alias)
        assert profile is not None
        release = build_release(
            Project.from_profile(profile, ("a benchmark",)), fetch,
            before=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), report=lambda _text: None,
        )  # fmt: skip
        tools = {
            str(item.definition["name"]): ToolRule(tool_class="read", approval="none")
            for item in release.statement.tools.items
        }
        world.desk.allow_namespace(profile.server.name.namespace, world.identity())
        world.vet(alias, release, tools=tools, withheld=frozenset())
    blobs = make_private_directory(host.places.blobs)
    for place in cache.iterdir():
        if place.is_file():
            os.link(place, blobs / place.name)
    return host


if __name__ == "__main__":
    sys.exit(main())
