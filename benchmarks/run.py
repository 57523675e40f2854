"""Measure what a verified start and a guarded call cost: ``make bench``.

Interleaved rounds in one run, medians and ratios, written to ``benchmarks/RESULTS.md`` with
the machine named. Uses the registry of the tests, on loopback.
"""

from __future__ import annotations

import compileall
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from mcps_launcher.sandbox.docker import Docker  # noqa: E402
from worlds import ECHO_SERVER, INITIALIZE, Host, call, make_world  # noqa: E402

ROUNDS = 15
CALLS = 400
LINE = json.dumps(INITIALIZE).encode() + b"\n"


def main() -> int:
    """Measure all rows and write the table."""
    # An installed launcher has its bytecode; so must the one that is measured.
    for room in ("trust", "launcher"):
        compileall.compile_dir(ROOT / room, quiet=1)
    folder = Path(tempfile.mkdtemp(prefix="mcps-bench-"))
    world, end = make_world(folder)
    try:
        world.serve("echo")
        host = world.host("bench")
        host.resolve("echo")
        rows = [*starts(host, folder), *round_trips(host, folder), memory(host)]
    finally:
        end()
    text = table(rows)
    (ROOT / "benchmarks" / "RESULTS.md").write_text(text, "utf-8")
    print(text)
    return 0


def starts(host: Host, folder: Path) -> list[tuple[str, str, str]]:
    """Start to first reply, against an unverified container of the same server."""
    app = folder / "echo"
    app.mkdir()
    (app / "main.py").write_bytes(ECHO_SERVER + b"\nmain()\n")
    image = Docker(host.places.home).build_image()
    bare = ["/usr/bin/docker", "run", "-i", "--rm", "--network", "none", "-v", f"{app}:/app:ro",
            image, "/usr/bin/python3.11", "-S", "/app/main.py"]  # fmt: skip
    command = host.command("echo")

    def lapsed() -> float:
        host.minutes_pass()
        return first_reply(command)

    def resigned() -> float:
        host.minutes_pass()
        host.world.desk.repository.refresh(datetime.now(UTC))
        return first_reply(command)

    contained = host.world.host("bench-docker")
    (contained.places.home / "config.toml").write_text('back-end = "docker"\n')
    first_reply(contained.command("echo"))
    cases: dict[str, Callable[[], float]] = {
        "docker": lambda: first_reply(bare),
        "warm": lambda: first_reply(command),
        "lapsed": lapsed,
        "resigned": resigned,
        "contained": lambda: first_reply(contained.command("echo")),
    }
    found = interleave(cases)
    base = found["docker"]
    titles = {
        "docker": "unverified `docker run`, line-echo server",
        "warm": "warm start, bwrap",
        "lapsed": "freshness lapsed, unchanged",
        "resigned": "freshness lapsed, timestamp signed again meanwhile",
        "contained": "warm start, docker back end",
    }
    return [
        (title, f"{found[name] * 1000:.0f} ms", f"{found[name] / base:.2f} x")
        for name, title in titles.items()
    ]


def first_reply(command: list[str]) -> float:
    """Seconds from spawning to the first line."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(LINE)
    process.stdin.flush()
    line = process.stdout.readline()
    seconds = time.monotonic() - began
    process.stdin.close()
    process.wait(30)
    process.stdout.close()
    if b'"result"' not in line:
        msg = f"no reply from {command[0]}: {line!r}"
        raise RuntimeError(msg)
    return seconds


def interleave(cases: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each case; rounds go through all of them in turn."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, run in cases.items():
            times[name].append(run())
    return {name: statistics.median(values) for name, values in times.items()}


def round_trips(host: Host, folder: Path) -> list[tuple[str, str, str]]:
    """A 1 KB call, guarded and audited, against the same server by plain pipes."""
    direct = [sys.executable, "-S", str(folder / "echo" / "main.py")]
    plain, guarded = calls(direct), calls(host.command("echo"))
    added = (statistics.median(guarded) - statistics.median(plain)) * 1e6
    tail = (percentile(guarded) - percentile(plain)) * 1e6
    big = {size: big_line(host, size) for size in (1, 8)}
    return [
        ("added to a 1 KB tools/call, audit on, p50", f"{added:.0f} us", ""),
        ("the same, p99", f"{tail:.0f} us", ""),
        ("one line of 8 MiB each way", f"{big[8] * 1000:.0f} ms",
         f"{big[8] / big[1]:.1f} x of 1 MiB"),
    ]  # fmt: skip


def calls(command: list[str]) -> list[float]:
    """Seconds of each of many calls in one session."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    exchange(process, LINE)
    text = "x" * 900
    times = []
    for number in range(CALLS):
        line = json.dumps(call(number + 10, "echo", text=text)).encode() + b"\n"
        began = time.monotonic()
        exchange(process, line)
        times.append(time.monotonic() - began)
    process.stdin.close()
    process.wait(30)
    return times[CALLS // 10 :]


def exchange(process: Any, line: bytes) -> bytes:
    """One line there and one back."""
    process.stdin.write(line)
    process.stdin.flush()
    answer: bytes = process.stdout.readline()
    if not answer:
        msg = "the server ended"
        raise RuntimeError(msg)
    return answer


def big_line(host: Host, mebibytes: int) -> float:
    """Seconds for one large call and its answer."""
    process = subprocess.Popen(host.command("echo"), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)  # fmt: skip
    exchange(process, LINE)
    exchange(process, json.dumps(call(2, "echo")).encode() + b"\n")
    line = json.dumps(call(3, "echo", text="x" * (mebibytes << 20))).encode() + b"\n"
    began = time.monotonic()
    exchange(process, line)
    seconds = time.monotonic() - began
    process.communicate(timeout=30)
    return seconds


def percentile(values: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(values, n=100)[98]


def memory(host: Host) -> tuple[str, str, str]:
    """Proportional set size of the launcher while its server runs."""
    process = subprocess.Popen(host.command("echo"), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)  # fmt: skip
    exchange(process, LINE)
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii")
    kilobytes = next(int(line.split()[1]) for line in rollup.splitlines()
                     if line.startswith("Pss:"))  # fmt: skip
    process.communicate(timeout=30)
    return "memory of the launcher (PSS)", f"{kilobytes / 1024:.1f} MB", ""


def table(rows: list[tuple[str, str, str]]) -> str:
    """The results, as a page."""
    cpu = next((line.partition(":")[2].strip() for line in
                Path("/proc/cpuinfo").read_text("ascii").splitlines()
                if line.startswith("model name")), "?")  # fmt: skip
    lines = [
        "# Results",
        "",
        f"{os.cpu_count()} x {cpu}, Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}. {ROUNDS} interleaved rounds, medians.",
        "",
        "| what | measured | ratio |",
        "|---|---|---|",
        *(f"| {what} | {value} | {ratio} |" for what, value, ratio in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
