"""A guard over two tools, and what its actions say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcps_launcher.guard.actions import Action, Audit, ToClient, ToServer
from mcps_launcher.guard.decide import Guard
from mcps_launcher.guard.pins import Pins
from mcps_trust.model.tools import Captured, ToolSurface
from mcps_trust.model.vetting import ToolRule

ECHO = {"name": "echo", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
PAY = {"name": "pay", "inputSchema": {"type": "object"}}
SURFACE = ToolSurface(
    protocol_versions=("2025-11-25",),
    instructions=(Captured(definition={"instructions": "be nice"}, eras=("legacy",),
                           capabilities=("none",)),),
    items=tuple(Captured(definition=tool, eras=("legacy",), capabilities=("none", "all"))
                for tool in (ECHO, PAY)),
    prompts=(Captured(definition={"name": "hello"}, eras=("legacy",), capabilities=("none",)),),
)  # fmt: skip
RULES = {"echo": ToolRule(tool_class="read", approval="none"),
         "pay": ToolRule(tool_class="payment", approval="user")}  # fmt: skip


@pytest.fixture
def guard() -> Guard:
    return Guard(pins=Pins.of(SURFACE, RULES, ()), limit=1 << 20)


def line(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


def to_server(actions: list[Action]) -> list[Any]:
    return [json.loads(a.line) for a in actions if isinstance(a, ToServer)]


def to_client(actions: list[Action]) -> list[Any]:
    return [json.loads(a.line) for a in actions if isinstance(a, ToClient)]


def audited(actions: list[Action]) -> list[tuple[str, Any]]:
    return [(a.event, a.body.get("reason")) for a in actions if isinstance(a, Audit)]


def listed(guard: Guard, *tools: dict[str, Any]) -> list[Action]:
    """Let the guard list the tools, as it does before the first call."""
    asked = to_server(guard.from_client(line(id="first", method="tools/call",
                                             params={"name": "echo"})))  # fmt: skip
    assert [message["method"] for message in asked] == ["tools/list"]
    return guard.from_server(line(id=asked[0]["id"], result={"tools": list(tools)}))
