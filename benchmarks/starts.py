"""From spawning a server to its first reply, against an unverified container of the same one."""

from __future__ import annotations

import compileall
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from measure import Row, first_reply, interleave

from mcps_launcher.sandbox.docker import Docker
from mcps_trust.model.decision import LaunchDecision
from worlds import INITIALIZE, Host

LINE = json.dumps(INITIALIZE).encode() + b"\n"


def starts(host: Host, folder: Path, rounds: int) -> list[Row]:
    """The line-echo server: warm, lapsed, signed again, and on the docker back end."""
    command = host.command("echo")
    bare = bare_container(host, "echo", folder)

    def lapsed() -> float:
        host.minutes_pass()
        return first_reply(command, LINE)

    def resigned() -> float:
        host.minutes_pass()
        host.world.desk.repository.refresh(datetime.now(UTC))
        return first_reply(command, LINE)

    contained = host.world.host("docker")
    (contained.places.home / "config.toml").write_text('back-end = "docker"\n')
    first_reply(contained.command("echo"), LINE)
    found = interleave({
        "bare": lambda: first_reply(bare, LINE),
        "warm": lambda: first_reply(command, LINE),
        "lapsed": lapsed,
    }, rounds)  # fmt: skip
    # Each of these signs or looks at another timestamp, which makes the others' decisions old.
    more: dict[str, Callable[[], float]] = {
        "bare": lambda: first_reply(bare, LINE),
        "resigned": resigned,
    }
    found |= {f"{name} 2": value for name, value in interleave(more, rounds).items()}
    first_reply(contained.command("echo"), LINE)
    more = {
        "bare": lambda: first_reply(bare, LINE),
        "contained": lambda: first_reply(contained.command("echo"), LINE),
    }
    found |= {f"{name} 3": value for name, value in interleave(more, rounds).items()}
    return [
        Row("unverified `docker run`, line-echo server", milliseconds(found["bare"])),
        against("warm start, bwrap", found["warm"], found["bare"], 0.5),
        against("freshness lapsed: unchanged", found["lapsed"], found["bare"], 0.7),
        against(
            "freshness lapsed: timestamp signed again", found["resigned 2"], found["bare 2"], 0.95
        ),
        against("warm start, docker back end", found["contained 3"], found["bare 3"], 1.3),
    ]


def sdk_starts(host: Host, folder: Path, rounds: int) -> list[Row]:
    """Real servers, written with the Python and the Node SDK."""
    rows = []
    for alias, title, most in (("clock", "Python", 0.85), ("everything", "Node", 0.75)):
        bare, command = bare_container(host, alias, folder), host.command(alias)
        found = interleave({
            "bare": lambda bare=bare: first_reply(bare, LINE),  # type: ignore[misc]  # a lambda's default
            "warm": lambda command=command: first_reply(command, LINE),  # type: ignore[misc]  # likewise
        }, rounds)  # fmt: skip
        rows += [
            Row(f"unverified `docker run`, {title} SDK server", milliseconds(found["bare"])),
            against(f"warm start, bwrap, {title} SDK server", found["warm"], found["bare"], most),
        ]
    return rows


def bare_container(host: Host, alias: str, folder: Path) -> list[str]:
    """``docker run`` of the same files on the same runtime, with nothing of ours around it."""
    decision = host.resolve(alias)
    app = folder / f"bare-{alias}"
    shutil.copytree(Path(decision.store_path) / "tree", app)
    engine = Docker(host.places.home)
    image = engine.build_image()
    app.chmod(0o755)
    for place in app.rglob("*"):
        place.chmod(0o755 if place.is_dir() else 0o644)
    compileall.compile_dir(app, quiet=2, invalidation_mode=None)
    return [
        "/usr/bin/docker", "run", "-i", "--rm", "--network", "none", "-v", f"{app}:/app:ro",
        "-e", "PYTHONPATH=/app", image, *plain_command(decision),
    ]  # fmt: skip


def plain_command(decision: LaunchDecision) -> list[str]:
    """What a user would write in a configuration for this server."""
    argv = list(decision.argv)
    if decision.runtime["name"] != "python":
        return argv
    module, _, function = argv[5].partition(":")
    return [argv[0], "-c", f"import {module}; {module}.{function}()"]


def against(what: str, seconds: float, base: float, most: float) -> Row:
    """A row of one case against its base."""
    return Row(what, milliseconds(seconds), seconds / base, most)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
