"""What a guarded and audited message costs, in time and memory."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

from measure import Row, close, exchange, seconds_of
from starts import LINE

from worlds import ECHO_SERVER, Host, call

CALLS = 500
SESSIONS = 5
MEBIBYTE = 1 << 20


def messages(host: Host, folder: Path) -> list[Row]:
    """Calls of 1 KB, and lines of 1 and 8 MiB."""
    plain = folder / "plain.py"
    plain.write_bytes(ECHO_SERVER + b"\nmain()\n")
    direct = ["/usr/bin/python3.11", "-S", str(plain)]
    pairs = [(calls(direct), calls(host.command("echo"))) for _ in range(SESSIONS)]
    added = [statistics.median(guarded) - statistics.median(bare) for bare, guarded in pairs]
    tails = [percentile(guarded) - percentile(bare) for bare, guarded in pairs]
    big = {size: [big_line(host, size) for _ in range(3)] for size in (1, 8)}
    times = {
        size: statistics.median(seconds for seconds, _ in found) for size, found in big.items()
    }
    grown = max(size for _, size in big[8])
    return [
        microseconds("added to a 1 KB `tools/call`, audit on, p50", statistics.median(added), 150),
        microseconds("added to a 1 KB `tools/call`, audit on, p99", statistics.median(tails), 1000),
        Row("one line of 8 MiB each way, against 1 MiB", f"{times[8] * 1000:.0f} ms",
            times[8] / times[1], 10),
        Row("memory for a line of 8 MiB, against the line", f"{grown / MEBIBYTE:.0f} MiB",
            grown / (8 * MEBIBYTE), 12),
    ]  # fmt: skip


def microseconds(what: str, seconds: float, most: float) -> Row:
    return Row(what, f"{seconds * 1e6:.0f} us", seconds * 1e6, most, "us")


def calls(command: Sequence[str]) -> list[float]:
    """Seconds of each of many calls in one session."""
    text = "x" * 900
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        exchange(process, LINE)
        times = []
        for number in range(CALLS):
            line = json.dumps(call(number + 10, "echo", text=text)).encode() + b"\n"
            times.append(seconds_of(lambda line=line: exchange(process, line)))  # type: ignore[misc]  # a lambda's default
        close(process)
    return times[CALLS // 10 :]


def big_line(host: Host, mebibytes: int) -> tuple[float, int]:
    """Seconds for one large call and its answer, and by how many bytes the launcher grew."""
    line = json.dumps(call(3, "echo", text="x" * (mebibytes * MEBIBYTE))).encode() + b"\n"
    with subprocess.Popen(host.command("echo"), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        exchange(process, LINE)
        exchange(process, json.dumps(call(2, "echo")).encode() + b"\n")
        before = peak(process.pid)
        seconds = seconds_of(lambda: exchange(process, line))
        grown = peak(process.pid) - before
        close(process)
    return seconds, grown


def peak(pid: int) -> int:
    """The most memory that a process has had so far, in bytes."""
    return _field(f"/proc/{pid}/status", "VmHWM")


def percentile(values: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(values, n=100)[98]


def memory(host: Host) -> list[Row]:
    """Proportional set size of everything of a session but the server itself."""
    kept = resident(host)
    for place in host.places.kept.glob("decision-*"):
        place.unlink()
    for place in host.places.kept.glob("proof-*"):
        place.unlink()
    verified = resident(host)
    return [
        Row("memory (PSS) of a session's launcher", "", kept / MEBIBYTE, 35, "MB"),
        Row("the same, after a first verification", "", verified / MEBIBYTE, 35, "MB"),
    ]


def resident(host: Host) -> int:
    """Bytes of the launcher and its helpers while a server runs."""
    with subprocess.Popen(host.command("echo"), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        exchange(process, LINE)
        total = sum(
            _field(f"/proc/{pid}/smaps_rollup", "Pss")
            for pid in family(process.pid)
            if "start_python" not in Path(f"/proc/{pid}/cmdline").read_text("utf-8")
            or "bwrap" in Path(f"/proc/{pid}/exe").readlink().name
        )
        close(process)
    return total


def family(pid: int) -> list[int]:
    """A process and everything below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(below for child in children for below in family(int(child)))]


def _field(path: str, name: str) -> int:
    for line in Path(path).read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    msg = f"{path} has no {name}"
    raise RuntimeError(msg)
