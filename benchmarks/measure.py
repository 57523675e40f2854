"""How things are measured here, and how a result is shown."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One result: what was measured, the figure, and the goal it was measured against.

    `figure` is a ratio, or a number of `unit`; `most` is what it may be at most.
    """

    what: str
    measured: str
    figure: float | None = None
    most: float | None = None
    unit: str = "x"


def interleave(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each case in seconds; every round goes through all of them in turn."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            times[name].append(run())
    return {name: statistics.median(values) for name, values in times.items()}


def seconds_of(run: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.monotonic()
    run()
    return time.monotonic() - began


def run_quietly(command: Sequence[str], **options: Any) -> None:
    """Run a program that must succeed."""
    subprocess.run(command, check=True, capture_output=True, **options)


def first_reply(command: Sequence[str], line: bytes) -> float:
    """Seconds from spawning a server to the first line of its answer."""
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        answer = exchange(process, line)
        seconds = time.monotonic() - began
        close(process)
    if b'"result"' not in answer:
        msg = f"no reply from {command[0]}: {answer[:200]!r}"
        raise RuntimeError(msg)
    return seconds


def close(process: subprocess.Popen[bytes]) -> None:
    """Close a server's input, as a host does that has had enough, and wait for its end."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait(30)


def exchange(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """One line there and one back."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        msg = "the server ended"
        raise RuntimeError(msg)
    return answer


def table(rows: Sequence[Row], rounds: int) -> str:
    """The results, as a page."""
    cpu = next((line.partition(":")[2].strip() for line in
                Path("/proc/cpuinfo").read_text("ascii").splitlines()
                if line.startswith("model name")), "?")  # fmt: skip
    return "\n".join([
        "# Results",
        "",
        "Written by `make bench`: one run, the cases of each comparison in turn, medians. "
        "The goals are those that the project set itself before anything was measured.",
        "",
        f"{os.cpu_count()} x {cpu}, Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}, {rounds} rounds.",
        "",
        "| what | measured | figure | goal | reached |",
        "|---|---|---|---|---|",
        *(_line(row) for row in rows),
        "",
    ])  # fmt: skip


def _line(row: Row) -> str:
    def shown(value: float | None, before: str = "") -> str:
        if value is None:
            return ""
        text = f"{value:.2f}" if row.unit == "x" else f"{value:.0f}"
        return f"{before}{text} {row.unit}"

    reached = ""
    if row.figure is not None and row.most is not None:
        reached = "yes" if row.figure <= row.most else "**no**"
    goal = shown(row.most, "at most ")
    return f"| {row.what} | {row.measured} | {shown(row.figure)} | {goal} | {reached} |"
