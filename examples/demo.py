"""The whole line, told as a story: ``make demo``.

Every step is done by the commands that a user would type, against real parts, in a folder
of its own (``.demo``) that is left in place together with ``demo.json``. It ends with exit
code 0 only if each thing that it says happened, happened.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

sys.path.insert(0, str(Path(__file__).resolve().parent))

from story import (
    BIN,
    ROOT,
    SECRET_NAME,
    DemoFailedError,
    Story,
    identity,
    readable,
    refused_start,
    registry,
    remove,
    request,
    require,
    shorten,
)

PROBE = "org.example.mcps/probe@1.0.0"
CLOCK = "io.github.modelcontextprotocol/server-time@2026.10.19"
EVERYTHING = "io.github.modelcontextprotocol/server-everything@2026.8.31"


def main() -> int:
    """Tell the story."""
    folder = ROOT / ".demo"
    remove(folder)
    folder.mkdir(mode=0o755)
    story = Story(folder)
    print("mcps: one line from publisher to audited tool call, all of it real.")
    try:
        with registry(story):
            publish(story)
            review(story)
            allow(story)
            use(story)
            probe(story)
            audit(story)
            tamper(story)
            revoke(story)
    except (DemoFailedError, subprocess.SubprocessError, OSError) as error:
        print(f"\nThe demo failed: {error}")
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is left running")
        return 130
    finally:
        story.facts["seconds"] = round(time.monotonic() - story.began, 1)
        text = json.dumps(story.facts, indent=2, ensure_ascii=False)
        (folder / "demo.json").write_text(text + "\n", "utf-8")
    print(
        f"\nAll of it happened, in {story.facts['seconds']} s. The facts are in "
        f"{folder / 'demo.json'}; registry, host and audit are beside it."
    )
    return 0


def publish(story: Story) -> None:
    """The probe by its author, two well-known servers endorsed by IT."""
    signing = ["--registry", story.url, "--registry-root",
               str(story.root),
               "--cache", str(ROOT / ".tools" / "packages")]  # fmt: skip
    story.step("A publisher signs a server with Sigstore and submits it")
    token = identity(story, "author@example.org")
    item = story.run(
        "mcps-sign",
        "publish",
        str(ROOT / "examples/probe-server"),
        *signing,
        "--identity-token",
        str(token),
    )
    story.say(
        f"{item['server']} {item['version']}: release {item['release'][:16]}…, "
        f"signed by {item['signer']['subject']}"
    )
    story.fact(release=item["release"], signer=item["signer"])
    story.step(
        "IT endorses two servers whose own publishers sign nothing: one from PyPI, one from npm"
    )
    token = identity(story, "it@example.org")
    document = story.run(
        "mcps-sign",
        "endorse",
        "clock",
        "everything",
        "--from",
        str(ROOT / "index.json"),
        *signing,
        "--identity-token",
        str(token),
    )
    for item in document["submissions"]:
        story.say(
            f"{item['server']} {item['version']}: release {item['release'][:16]}…, "
            f"{item['origin']} by {item['signer']['subject']}"
        )
    story.fact(releases={i["server"]: i["release"] for i in document["submissions"]})


def review(story: Story) -> None:
    """Review, narrow, approve."""
    story.step("Review: what does the clock ask for, and are its files what the index has?")
    shown = story.run("mcps-registry", "review", "show", CLOCK, *story.at_registry())
    asked = shown["permissions"]
    story.say(
        f"signed by {shown['signer']['subject']}; tools: "
        + ", ".join(tool["name"] for tool in shown["tools"])
    )
    story.say(
        f"asks for network {asked['egress'] or 'none'}, mounts {asked['mounts'] or 'none'}, "
        f"secrets {asked['secrets'] or 'none'}"
    )
    story.say(
        f"{shown['artifacts']['matched']} locked files match the package index, "
        f"{len(shown['artifacts']['unmatched'])} do not"
    )
    story.fact(artifacts=shown["artifacts"], permissions=asked)
    require(not shown["artifacts"]["unmatched"], "every file of the clock is on the index")
    story.step("Alice approves, with her own key, and narrows what the probe may have")
    approving = [*story.at_registry(), "--keys", str(story.registry / "keys"), "--approver", "alice",
                 "--yes", "--passphrase-file", str(story.passphrase)]  # fmt: skip
    approved = {}
    for name in (CLOCK, EVERYTHING):
        approved[name] = story.run(
            "mcps-registry", "approve", name, *approving, "--profile", str(ROOT / "index.json")
        )
    grant = story.folder / "probe-grant.json"
    narrowed = story.run(
        "mcps-registry", "review", "show", PROBE, *story.at_registry(), "--no-index", show=False
    )["permissions"]
    narrowed["resources"]["memory"] = 128 * 1024 * 1024
    narrowed["environment"] = []
    grant.write_text(json.dumps(narrowed))
    refused = story.run(
        "mcps-registry",
        "approve",
        PROBE,
        *approving,
        "--tool",
        "probe=read",
        "--tier",
        "low",
        "--grant",
        str(grant),
        expect=77,
    )
    story.say(f"first refused [{refused['error']['code']}]: {refused['error']['found']}")
    wheel = refused["error"]["found"].rpartition(" ")[2]
    approved[PROBE] = story.run(
        "mcps-registry",
        "approve",
        PROBE,
        *approving,
        "--tool",
        "probe=read",
        "--tier",
        "low",
        "--grant",
        str(grant),
        "--allow-unindexed",
        wheel,
    )
    for state in approved.values():
        story.say(f"{state['path']}: approved by {', '.join(state['approvedBy'])}")
        require(bool(state["published"]), "the entry is published")
    story.fact(
        refusal=refused["error"]["code"],
        entries={s["path"]: s["entrySha256"] for s in approved.values()},
    )


def allow(story: Story) -> None:
    """A team, its allow-list, a host."""
    story.step("Team demo gets keys of its own and allows three servers by short names")
    keys = [*story.at_registry(), "--keys", str(story.registry / "keys"), "--passphrase-file",
            str(story.passphrase)]  # fmt: skip
    story.run(
        "mcps-registry",
        "team",
        "create",
        "demo",
        *keys,
        "--new-keys",
        str(story.registry / "keys" / "team-demo"),
    )
    for alias, entry in (("clock", CLOCK), ("everything", EVERYTHING), ("probe", PROBE)):
        story.run("mcps-registry", "team", "allow", "demo", alias, entry, *keys)
    story.step("A fresh host enrols: one root of trust, one team")
    document = story.run(
        "mcps-launch",
        "--home",
        str(story.home),
        "enroll",
        story.url,
        "--team",
        "demo",
        "--fingerprint",
        story.facts["steps"][0]["fingerprint"],
        "--development",
    )
    story.say(f"it may start: {', '.join(document['aliases'])}")
    # Only so that the last step is short: every 5 minutes is usual.
    (story.home / "config.toml").write_text("recheck = 2\n")
    story.fact(aliases=document["aliases"])


def use(story: Story) -> None:
    """A real client uses two real servers."""
    story.step(
        "mcps-launch verifies the whole chain and starts the clock in a sandbox; the "
        "official MCP client asks it the time"
    )
    links = story.run("mcps-launch", "--home", str(story.home), "verify", "clock")["links"]
    for link in links:
        story.say(f"✓ {link['name']:<12} {shorten(link['proved'], 100)}")
    answer, seconds = asyncio.run(call(story, "clock", "get_current_time", {"timezone": "UTC"}))
    story.say(f"get_current_time → {json.dumps(answer)}")
    require("datetime" in json.dumps(answer), "the clock told the time")
    story.fact(links=links, answer=answer, seconds=round(seconds, 3))
    story.step("The same for the server from npm; a tool that was withheld is not there")
    answer, seconds = asyncio.run(call(story, "everything", "echo", {"message": "hello"}))
    hidden = asyncio.run(tools(story, "everything"))
    story.say(f"echo → {json.dumps(answer)}; get-env is listed: {'get-env' in hidden}")
    require("get-env" not in hidden and "echo" in hidden, "withheld tools are hidden")
    story.fact(answer=answer, tools=hidden, seconds=round(seconds, 3))


def probe(story: Story) -> None:
    """The same probe, in the sandbox and bare."""
    story.step("The probe tries to get out: run by mcps-launch, and run bare beside it")
    outside = story.folder / "a file of the host.txt"
    outside.write_text("private\n")
    arguments = {"port": story.port, "path": str(outside)}
    inside, _ = asyncio.run(call(story, "probe", "probe", arguments))
    bare = asyncio.run(call_bare(arguments))
    story.say(f"{'':<22}{'by mcps-launch':<46}bare")
    for name, found in inside.items():
        story.say(
            f"{name:<22}{found['state']:<9}{found['detail'][:35]:<37}"
            f"{bare[name]['state']:<9}{bare[name]['detail'][:45]}"
        )
    story.fact(sandboxed=inside, bare=bare)
    opened = [name for name, found in inside.items() if found["state"] != "refused"]
    require(not opened, f"the sandbox refuses everything (open: {opened})")
    expected = ["network", "host files", "write to host", "processes", "capabilities",
                "launcher's variables"]  # fmt: skip
    if not os.statvfs("/tmp").f_flag & os.ST_NOEXEC:  # some machines are strict themselves
        expected.append("programs in /tmp")
    control = [name for name in expected if bare[name]["state"] != "open"]
    require(not control, f"the same attempts succeed outside it (refused: {control})")


def audit(story: Story) -> None:
    """The trail of all that."""
    story.step("Everything is in the audit trail, chained and whole")
    sessions = story.run("mcps-launch", "--home", str(story.home), "audit", "verify")["sessions"]
    for session in sessions:
        story.say(f"{session['state']}: {session['session']}, {session['records']} records")
        require(session["state"] == "whole", "the chain is whole")
    shown = story.run(
        "mcps-launch", "--home", str(story.home), "audit", "show", sessions[0]["session"]
    )
    record = next(r for r in shown["records"] if r["event"] == "call")
    story.say("one record, whole:")
    story.say(json.dumps(record, indent=2, ensure_ascii=False))
    story.fact(sessions=sessions, record=record)


def tamper(story: Story) -> None:
    """A changed byte."""
    story.step("Somebody flips one byte of the installed clock, same size, old time stamp")
    store = story.home / "store"
    victim = next(store.glob("*/tree/mcp_server_time/server.py"))
    original, status = victim.read_bytes(), victim.stat()
    folder_mode = victim.parent.stat().st_mode
    victim.parent.chmod(0o755)
    victim.chmod(0o644)
    victim.write_bytes(bytes([original[0] ^ 1]) + original[1:])
    victim.chmod(status.st_mode)
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    victim.parent.chmod(folder_mode)
    require(victim.stat().st_mtime_ns == status.st_mtime_ns, "the old time stamp is back")
    error = refused_start(story, "clock")
    story.say(f"launch refused [{error['code']}]: {error['what']}")
    require(error["code"] == "closure-changed", "the change was noticed")
    story.fact(code=error["code"])
    story.run("mcps-launch", "--home", str(story.home), "gc", "--all")
    story.run("mcps-launch", "--home", str(story.home), "prefetch", "clock")
    story.say("removed, and installed anew from the same digests")


def revoke(story: Story) -> None:
    """Taking it back, from a running server too."""
    story.step("On call, somebody revokes the clock while it runs")
    outcome = asyncio.run(revoked_while_running(story))
    story.say(
        f"the running server was ended: {outcome['code']}, {outcome['seconds']:.1f} s later"
        " (this host asks every 2 s; 5 minutes are usual)"
    )
    error = refused_start(story, "clock")
    story.say(f"a new start is refused [{error['code']}]: {error['what']}")
    require(error["code"] == "revoked", "a revoked server does not start")
    answer, _ = asyncio.run(call(story, "everything", "echo", {"message": "still here"}))
    story.say(f"other servers go on: {json.dumps(answer)}")
    story.fact(running=outcome, code=error["code"])


async def call(story: Story, alias: str, tool: str, arguments: dict[str, Any]) -> tuple[Any, float]:
    """Start a server through the launcher, call one tool, end it."""
    began = time.monotonic()
    async with Client(story.server(alias)) as client:
        seconds = time.monotonic() - began
        result = await client.call_tool(tool, arguments)
    return readable(result), seconds


async def call_bare(arguments: dict[str, Any]) -> Any:
    """The probe without any of this: as hosts start servers otherwise."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "mcps_probe.server"],
        env={**os.environ, SECRET_NAME: "not for servers",
             "PYTHONPATH": str(ROOT / "examples/probe-server")},
    )  # fmt: skip
    async with Client(server) as client:
        return readable(await client.call_tool("probe", arguments))


async def tools(story: Story, alias: str) -> list[str]:
    """What a client is shown."""
    async with Client(story.server(alias)) as client:
        return [tool.name for tool in (await client.list_tools()).tools]


async def revoked_while_running(story: Story) -> dict[str, Any]:
    """Keep the clock running, revoke it, and see what becomes of it."""
    process = await asyncio.create_subprocess_exec(
        str(BIN / "mcps-launch"), "--home", str(story.home), "clock",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise DemoFailedError("no pipes")
    process.stdin.write(request(1, "initialize", {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "demo", "version": "1"},
    }))  # fmt: skip
    await process.stdin.drain()
    await asyncio.wait_for(process.stdout.readline(), 30)
    await asyncio.to_thread(
        story.run, "mcps-registry", "revoke", "package", "pkg:pypi/mcp-server-time@2026.10.19",
        *story.at_registry(), "--keys", str(story.registry / "keys"), "--reason", "demonstration",
        "--passphrase-file", str(story.passphrase),
    )  # fmt: skip
    began = time.monotonic()
    code = await asyncio.wait_for(process.wait(), 60)
    words = (await process.stderr.read()).decode("utf-8", "replace")
    require(code == 77 and "revoked" in words, f"the launcher ended the session ({code}: {words})")
    return {"exit": code, "code": "revoked", "seconds": round(time.monotonic() - began, 2)}


if __name__ == "__main__":
    sys.exit(main())
