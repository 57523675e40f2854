"""Hosts that start servers, what clients send them, and the server that most tests run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.places import Places
from mcps_launcher.resolve import Resolver
from mcps_launcher.sandbox.bwrap import Bwrap
from mcps_trust.model.decision import LaunchDecision

if TYPE_CHECKING:
    from worlds import World

__all__ = ["ECHO_SERVER", "INITIALIZE", "Host", "at", "call", "request"]

ECHO_SERVER = b"""
import json, os, sys, time

TOOLS = [{"name": "echo", "description": "Say it again", "inputSchema": {"type": "object"}},
         {"name": "delete", "description": "Delete it", "inputSchema": {"type": "object"}},
         {"name": "hidden", "description": "Not granted", "inputSchema": {"type": "object"}}]

def main():
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        method, params = message["method"], message.get("params") or {}
        result = {}
        if method == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                      "serverInfo": {"name": "echo", "version": "1"}}
        elif method == "tools/list":
            result = {"tools": TOOLS}
        elif method == "tools/call":
            text = json.dumps(params.get("arguments"), ensure_ascii=False)
            result = {"content": [{"type": "text", "text": text}]}
        elif method == "server/discover":
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"],
                                         "error": {"code": -32601, "message": "no"}}) + "\\n")
            sys.stdout.flush()
            continue
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\\n")
        sys.stdout.flush()
"""


@dataclass
class Host:
    """A machine that starts servers."""

    world: World
    places: Places

    def resolve(self, alias: str, *, ahead: timedelta = timedelta()) -> LaunchDecision:
        """Prove the chain, as if it were later by `ahead`."""
        resolver = Resolver(
            self.places,
            Enrolment.read(self.places, Configuration.read(self.places)),
            Configuration.read(self.places),
            datetime.now(UTC) + ahead,
            lambda _text: None,
        )
        return resolver.resolve(alias, Bwrap(self.places.home))[0]

    def minutes_pass(self) -> None:
        """Make the next start ask the registry again, as it would a minute later."""
        (self.places.kept / "asked").unlink(missing_ok=True)

    def command(self, *words: str) -> list[str]:
        """A command line of mcps-launch for this host."""
        return [
            sys.executable,
            "-I",
            "-m",
            "mcps_launcher.cli",
            "--home",
            str(self.places.home),
            *words,
        ]

    def run(self, *words: str, input: bytes = b"", timeout: float = 60,  # noqa: A002
            env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        """Run mcps-launch to its end."""
        return subprocess.run(
            self.command(*words),
            input=input,
            capture_output=True,
            timeout=timeout,
            check=False,
            env=env,
        )

    def talk(self, alias: str, *messages: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Start a server, send messages one after another, give all answers."""
        lines = b"".join(json.dumps(m, ensure_ascii=False).encode() + b"\n" for m in messages)
        done = self.run(alias, input=lines, **options)
        assert b"Traceback" not in done.stderr
        assert done.stdout, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.split(b"\n") if line]

    def start(self, alias: str) -> subprocess.Popen[bytes]:
        """Start a server and leave it running."""
        return subprocess.Popen(
            self.command(alias),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def request(identity: int | str, method: str, **params: Any) -> dict[str, Any]:
    """A JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}


def call(identity: int | str, tool: str, **arguments: Any) -> dict[str, Any]:
    """A tools/call request."""
    return request(identity, "tools/call", name=tool, arguments=arguments)


INITIALIZE = request(
    1,
    "initialize",
    protocolVersion="2025-11-25",
    capabilities={},
    clientInfo={"name": "test", "version": "1"},
)


def at(host: Host) -> list[str | Path]:
    """Options that name its folder."""
    return ["--home", host.places.home]
