"""What the demo's steps have in common: running commands, saying and keeping what happened."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcp import StdioServerParameters

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SECRET_NAME = "MCPS_DEMO_SECRET"


class DemoFailedError(Exception):
    """Something that the story says did not happen."""


class Story:
    """Runs the commands, prints what a newcomer should see, and keeps the facts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = {"steps": []}
        self.began = time.monotonic()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.home = folder / "host"
        self.registry = folder / "registry"
        self.root = self.registry / "public/metadata/1.root.json"
        self.passphrase = folder / "passphrase.txt"

    def at_registry(self) -> list[str]:
        """Options of mcps-registry from a machine that is not the registry's."""
        return ["-r", self.url, "--registry-root", str(self.root)]

    def step(self, title: str) -> None:
        """Begin a step."""
        seconds = time.monotonic() - self.began
        bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
        number = len(self.facts["steps"]) + 1
        print(f"\n{bold}{number:>2}. {title}{plain}  ({seconds:.0f} s)", flush=True)
        self.facts["steps"].append({"title": title, "at": round(seconds, 2)})

    def fact(self, **facts: Any) -> None:
        """Keep facts about the step."""
        self.facts["steps"][-1].update(facts)

    def say(self, text: str) -> None:
        """A line of the story."""
        print("    " + text.replace("\n", "\n    "), flush=True)

    def run(self, *words: str, expect: int = 0, show: bool = True) -> dict[str, Any]:
        """Run one of our commands with --json; gives its document, or its error."""
        command = [str(BIN / words[0]), *words[1:], "--json"]
        if show:
            self.say(f"$ {' '.join(shorten(word) for word in words)}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != expect:
            raise DemoFailedError(
                f"{' '.join(words)}: exit code {done.returncode}, expected "
                f"{expect}\n{done.stderr[-1500:]}"
            )
        text = done.stdout if expect == 0 else done.stderr.strip().splitlines()[-1]
        document: dict[str, Any] = json.loads(text)
        return document

    def server(self, alias: str) -> StdioServerParameters:
        """How a client starts a server through the launcher."""
        return StdioServerParameters(
            command=str(BIN / "mcps-launch"),
            args=["--home", str(self.home), alias],
            env={**os.environ, SECRET_NAME: "not for servers"},
        )


@contextlib.contextmanager
def registry(story: Story) -> Iterator[None]:
    """Make a registry with its private Sigstore, and serve it."""
    story.step("IT makes a private registry, with keys for each role and a Sigstore of its own")
    story.passphrase.write_text("only for the demo\n")
    made = story.run(
        "mcps-registry", "init", str(story.registry), "--url", story.url, "--name", "demo",
        "--approver", "alice", "--development", "--passphrase-file", str(story.passphrase),
    )  # fmt: skip
    story.say(f"{len(made['holders'])} folders of keys; the root of trust is {made['fingerprint']}")
    story.fact(fingerprint=made["fingerprint"], holders=[h["name"] for h in made["holders"]])
    for namespace, who in (
        ("org.example.mcps", "author@example.org"),
        ("io.github.modelcontextprotocol", "it@example.org"),
    ):
        story.run(
            "mcps-registry",
            "namespace",
            "allow",
            namespace,
            "-r",
            str(story.registry),
            "--issuer",
            f"{story.url}/sigstore/oidc",
            "--subject",
            who,
        )
    log = (story.folder / "registry.log").open("wb")
    server = subprocess.Popen(
        [str(BIN / "mcps-registry"), "serve", str(story.registry), "--port", str(story.port),
         "--with-sigstore", "--passphrase-file", str(story.passphrase)],
        stdout=log, stderr=log,
    )  # fmt: skip
    try:
        wait_for(f"{story.url}/api/v1/health", server)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


def refused_start(story: Story, alias: str) -> dict[str, Any]:
    """Start a server that must be refused; gives the error in the JSON-RPC answer."""
    done = subprocess.run(
        [str(BIN / "mcps-launch"), "--home", str(story.home), alias],
        input=request(1, "initialize", {}), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    require(done.returncode != 0 and bool(done.stdout), "the start was refused, and answered")
    error: dict[str, Any] = json.loads(done.stdout)["error"]["data"]
    return error


def request(identity: int, method: str, params: dict[str, Any]) -> bytes:
    """One JSON-RPC line."""
    message = {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


def readable(result: Any) -> Any:
    """A tool's result as a plain value."""
    if result.is_error:
        raise DemoFailedError(f"the tool refused: {result.content}")
    if result.structured_content is not None:
        return result.structured_content
    return [getattr(part, "text", "…") for part in result.content]


def identity(story: Story, email: str) -> Path:
    """A token from the registry's development issuer."""
    body = json.dumps({"email": email}).encode()
    with urllib.request.urlopen(f"{story.url}/sigstore/oidc/token", body, timeout=10) as answer:
        token = json.load(answer)["token"]
    path = story.folder / f"{email.partition('@')[0]}.token"
    path.write_text(token)
    return path


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    """Until the registry answers."""
    for _ in range(300):
        if server.poll() is not None:
            raise DemoFailedError("the registry did not start; see .demo/registry.log")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return
        time.sleep(0.1)
    raise DemoFailedError("the registry does not answer")


def free_port() -> int:
    """A port on loopback that nobody uses now."""
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def require(condition: bool, what: str) -> None:
    """Fail unless it happened."""
    if not condition:
        raise DemoFailedError(f"this did not happen: {what}")


def shorten(text: str, limit: int = 60) -> str:
    """Long paths and digests, for people."""
    text = text.replace(f"{ROOT}/", "")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def remove(folder: Path) -> None:
    """An earlier run; its store is read-only."""
    if folder.exists():
        for place, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):
                os.chmod(place, 0o700)
        shutil.rmtree(folder)
