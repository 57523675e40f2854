"""What becomes of each message (pure): state and a message in, actions out.

Client messages come in through `from_client`, server messages through `from_server`; both
give actions that the session carries out in order. What is policed is serialised anew by
us, so that host and guard cannot read it differently; everything else passes byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mcps_launcher.guard.actions import Action, Audit, ToClient, ToServer
from mcps_launcher.guard.message import (
    INVALID_REQUEST,
    PARSE_ERROR,
    REFUSED,
    Id,
    Message,
    canonical_form,
    encode,
    era_of,
    error_answer,
    outcome_of,
    parse_line,
    tool_refusal,
)
from mcps_launcher.guard.methods import HOUSEKEEPING, LISTS, POLICED, SERVER_MAY_ASK
from mcps_launcher.guard.own_list import OwnList
from mcps_launcher.guard.pins import Pins, refusal_of
from mcps_trust.errors import McpsError
from mcps_trust.model.tools import Era

__all__ = ["MAX_REFUSED", "Guard"]

_BATCHING_VERSION = "2025-03-26"
_OWN_ID = "mcps-guard-"
_MAX_HELD = 64
_MAX_ASKED = 64  # requests of the server's that the host has not answered
_MAX_BATCH = 100  # messages
_MAX_TOLD = 20  # definitions of one list that are written down by name
MAX_REFUSED = 1000
"""Refused messages of one server after which its session is ended."""


@dataclass(slots=True)
class _Pending:
    """A request of the host's that the server has not answered."""

    method: str
    era: Era
    since: float
    name: str = ""
    audited: bool = False


@dataclass
class Guard:
    """The state of one session's conversation; `clock` gives seconds, and never goes back."""

    pins: Pins
    limit: int
    clock: Callable[[], float] = time.monotonic
    _pending: dict[Id, _Pending] = field(default_factory=dict)
    _server_asked: set[Id] = field(default_factory=set)
    _own: dict[str, OwnList] = field(default_factory=dict)
    _own_count: int = 0
    _listed: set[Era] = field(default_factory=set)
    _drifted: dict[str, set[str]] = field(default_factory=dict)
    _held: list[Message] = field(default_factory=list)
    _version: str = ""
    refused: int = 0

    # from the host ---------------------------------------------------------------------

    def from_client(self, line: bytes) -> list[Action]:
        """Decide about a line of the host's."""
        try:
            parsed = parse_line(line.rstrip(b"\r"), self.limit)
        except McpsError as error:
            kind = INVALID_REQUEST if error.code == "bad-message" else PARSE_ERROR
            body = {"direction": "client", "reason": error.code}
            return [Audit("message-refused", body), ToClient(error_answer(None, kind, error.what))]
        if isinstance(parsed, Message):
            return self._client_message(parsed)
        if self._version != _BATCHING_VERSION or len(parsed) > _MAX_BATCH:
            text = "a batch is too long, or not part of this protocol version"
            body = {"direction": "client", "reason": "batch"}
            return [
                Audit("message-refused", body),
                ToClient(error_answer(None, INVALID_REQUEST, text)),
            ]
        return [action for message in parsed for action in self._client_message(message)]

    def _client_message(self, message: Message) -> list[Action]:
        if message.kind == "response":
            return self._client_response(message)
        if message.kind == "notification":
            return self._client_notification(message)
        identity = message.id
        if (
            identity is None
            or identity in self._pending
            or any(held.id == identity for held in self._held)
            or (isinstance(identity, str) and identity.startswith(_OWN_ID))
        ):
            return [ToClient(error_answer(identity, INVALID_REQUEST, "this id is in use"))]
        if message.method == "tools/call":
            return self._call(message)
        return self._other_request(message, identity)

    def _other_request(self, message: Message, identity: Id) -> list[Action]:
        era = era_of(message)
        pending = _Pending(message.method, era, self.clock())
        if message.method in HOUSEKEEPING:
            self._pending[identity] = pending
            return [ToServer(message.line)]
        name = message.params.get("name") or message.params.get("uri") or ""
        pending.name, pending.audited = str(name)[:500], True
        body = {"method": message.method[:100], "name": pending.name, "id": identity}
        form = canonical_form(message.params)
        if form is None:
            refused = {**body, "decision": "refused", "reason": "not-canonical"}
            text = "an integer beyond 2^53 means different things to readers"
            return [
                Audit("read", refused),
                ToClient(error_answer(identity, REFUSED, text, {"code": "not-canonical"})),
            ]
        if message.method == "prompts/get" and not self._holds_prompt(era, name):
            refused = {**body, "decision": "refused", "reason": "drift"}
            text = "this prompt is not one that was vetted: it is quarantined"
            return [
                Audit("read", refused, message.params, form),
                ToClient(error_answer(identity, REFUSED, text, {"code": "drift"})),
            ]
        self._pending[identity] = pending
        return [
            Audit("read", {**body, "decision": "allowed"}, message.params, form),
            ToServer(message.line),
        ]

    def _holds_prompt(self, era: Era, name: object) -> bool:
        """Whether a prompt was vetted, and no list has shown another since."""
        return self.pins.knows_prompt(era, name) and _label(name) not in self._drifted.get(
            "prompts", ()
        )

    def _client_notification(self, message: Message) -> list[Action]:
        if not message.method.startswith("notifications/"):
            # A call without an id would be carried out by servers that look at the method alone.
            body = {
                "direction": "client",
                "reason": "not-a-notification",
                "method": message.method[:100],
            }
            return [Audit("message-refused", body)]
        if message.method == "notifications/cancelled":
            cancelled = message.params.get("requestId")
            self._held = [held for held in self._held if held.id != cancelled]
        return [ToServer(message.line)]

    def _client_response(self, message: Message) -> list[Action]:
        if message.id is None or message.id not in self._server_asked:
            body = {"direction": "client", "reason": "unexpected-response"}
            return [Audit("message-refused", body)]
        self._server_asked.discard(message.id)
        return [ToServer(message.line)]

    # calls -----------------------------------------------------------------------------

    def _call(self, message: Message) -> list[Action]:
        era = era_of(message)
        if era in self._listed:
            return self._decide_call(message, era)
        # The tools are listed by us before the first call: a server that changed them after
        # vetting is found out before one of them runs.
        if len(self._held) >= _MAX_HELD:
            return [ToClient(tool_refusal(message.id, era, "too many calls before the first list"))]
        self._held.append(message)
        if any(own.era == era for own in self._own.values()):
            return []
        return [
            self._list_tools(
                OwnList(era, message.params.get("_meta"), self.pins.tools.keys()), cursor=None
            )
        ]

    def _list_tools(self, own: OwnList, cursor: str | None) -> ToServer:
        self._own_count += 1
        identity = f"{_OWN_ID}{self._own_count}"
        self._own[identity] = own
        params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        if own.era == "modern":
            params["_meta"] = own.meta
        return ToServer(
            encode({"jsonrpc": "2.0", "id": identity, "method": "tools/list", "params": params})
        )

    def _decide_call(self, message: Message, era: Era) -> list[Action]:
        name = message.params.get("name")
        tool = name if isinstance(name, str) else ""
        rule = self.pins.tools.get(tool) if self.pins.is_granted(tool) else None
        refusal = refusal_of(rule)
        if refusal is None and not self.pins.knows_tool(era, tool):
            refusal = "drift", "this tool was not vetted for this era of the protocol"
        if refusal is None and _label(tool) in self._drifted.get("tools", ()):
            refusal = "drift", "this tool is not the one that was vetted: it is quarantined"
        body = {
            "tool": tool[:200],
            "class": rule.tool_class if rule else None,
            "id": message.id,
            "era": era,
            "approval": rule.approval if rule else None,
        }
        arguments = message.params.get("arguments")
        form = canonical_form(arguments)
        if form is None:
            refusal = "not-canonical", "an integer beyond 2^53 means different things to readers"
        if refusal is not None:
            code, text = refusal
            return [
                Audit("call", {**body, "decision": "refused", "reason": code}, arguments, form),
                ToClient(tool_refusal(message.id, era, f"mcps refused the call [{code}]: {text}")),
            ]
        if message.id is not None:
            self._pending[message.id] = _Pending(
                "tools/call", era, self.clock(), tool, audited=True
            )
        return [
            Audit("call", {**body, "decision": "allowed", "reason": "granted"}, arguments, form),
            ToServer(encode(message.value)),
        ]

    # from the server -------------------------------------------------------------------

    def from_server(self, line: bytes) -> list[Action]:
        """Decide about a line of the server's."""
        try:
            parsed = parse_line(line.rstrip(b"\r"), self.limit)
        except McpsError as error:
            return self._refuse_server(error.code)
        if isinstance(parsed, Message):
            return self._server_message(parsed)
        if self._version != _BATCHING_VERSION or len(parsed) > _MAX_BATCH:
            return self._refuse_server("batch")
        return [action for message in parsed for action in self._server_message(message)]

    def _server_message(self, message: Message) -> list[Action]:
        if message.kind == "notification":
            if not message.method.startswith("notifications/"):
                return self._refuse_server("not-a-notification", message.method)
            if message.method == "notifications/tools/list_changed":
                self._listed.clear()
            return [ToClient(message.line)]
        if message.kind == "request":
            return self._server_request(message)
        if isinstance(message.id, str) and message.id in self._own:
            return self._own_answer(message.id, message)
        pending = None if message.id is None else self._pending.pop(message.id, None)
        if pending is None:
            return self._refuse_server("unexpected-response")
        return self._answer(message, pending)

    def _refuse_server(self, reason: str, method: str = "") -> list[Action]:
        """Drop a message of the server's, and write it down; too many end the session."""
        self.refused += 1
        body = {"direction": "server", "reason": reason}
        return [Audit("message-refused", {**body, "method": method[:100]} if method else body)]

    def _server_request(self, message: Message) -> list[Action]:
        if (
            message.method in SERVER_MAY_ASK
            and message.id is not None
            and len(self._server_asked) < _MAX_ASKED
        ):
            self._server_asked.add(message.id)
            return [ToClient(message.line)]
        refused = self._refuse_server("server-request", message.method)
        text = f"{message.method[:100]} is not granted to this server"
        return [*refused, ToServer(error_answer(message.id, REFUSED, text))]

    def _answer(self, message: Message, pending: _Pending) -> list[Action]:
        # The decision was written before the call went on; how it ended is written once the
        # answer has: the host need not wait for it.
        passed = self._pass_answer(message, pending)
        if not pending.audited:
            return passed
        event: Literal["call-outcome", "read-outcome"] = (
            "call-outcome" if pending.method == "tools/call" else "read-outcome"
        )
        body = {
            "id": message.id,
            "name": pending.name,
            "outcome": outcome_of(message),
            "bytes": len(message.raw),
            "duration": round((self.clock() - pending.since) * 1e6),
        }
        return [*passed, Audit(event, body)]

    def _pass_answer(self, message: Message, pending: _Pending) -> list[Action]:
        result = message.result
        if result is None and "result" in message.value and pending.method in POLICED:
            return self._bad_answer(message)
        if result is None:
            return [ToClient(message.line)]
        if result.get("resultType") == "input_required":
            text = "mcps refused: the server asked the client for input, which is not granted"
            return [
                *self._refuse_server("input-required"),
                ToClient(tool_refusal(message.id, pending.era, text)),
            ]
        if pending.method in LISTS:
            return self._filter(message, pending, result)
        if pending.method in ("initialize", "server/discover"):
            return self._greeting(message, pending, result)
        return [ToClient(message.line)]

    def _greeting(
        self, message: Message, pending: _Pending, result: Mapping[str, Any]
    ) -> list[Action]:
        if pending.method == "initialize":
            self._version = str(result.get("protocolVersion", ""))
        text = result.get("instructions")
        if text is None or self.pins.instructions_hold(pending.era, text):
            return [ToClient(message.line)]
        kept = {key: value for key, value in result.items() if key != "instructions"}
        return [
            Audit("drift", {"kind": "instructions", "name": ""}),
            ToClient(encode({**message.value, "result": kept})),
        ]

    def _filter(
        self, message: Message, pending: _Pending, result: Mapping[str, Any]
    ) -> list[Action]:
        key, name_key = LISTS[pending.method]
        items = result.get(key)
        if not isinstance(items, list):
            return self._bad_answer(message)
        shown, actions = self._judge(key, name_key, pending.era, items)
        return [*actions, ToClient(encode({**message.value, "result": {**result, key: shown}}))]

    def _bad_answer(self, message: Message) -> list[Action]:
        text = "the server's answer is not of the form that it must have"
        return [
            *self._refuse_server("bad-answer"),
            ToClient(error_answer(message.id, REFUSED, text, {"code": "bad-answer"})),
        ]

    def _judge(
        self, kind: str, name_key: str, era: Era, items: list[Any]
    ) -> tuple[list[Any], list[Action]]:
        shown: list[Any] = []
        fresh: list[str] = []
        drifted = self._drifted.setdefault(kind, set())
        for item in items:
            name = item.get(name_key) if isinstance(item, dict) else None
            verdict = self.pins.judge(kind, era, name, item)
            if verdict.shown:
                shown.append(item)
            elif verdict.reason == "drift" and (label := _label(name)) not in drifted:
                fresh.append(label)
                drifted.add(label)
        self.refused += len(fresh)  # a server that goes on inventing some is ended
        told: list[Action] = [
            Audit("drift", {"kind": kind, "name": name}) for name in fresh[:_MAX_TOLD]
        ]
        if len(fresh) > _MAX_TOLD:
            told.append(Audit("drift", {"kind": kind, "name": "", "more": len(fresh) - _MAX_TOLD}))
        return shown, told

    def _own_answer(self, identity: str, message: Message) -> list[Action]:
        own = self._own.pop(identity)
        items, cursor = own.take(message.result or {})
        _, actions = self._judge("tools", "name", own.era, items)
        if cursor is not None:
            return [*actions, self._list_tools(own, cursor)]
        if not own.is_whole:
            # What was not seen cannot be held to be as it was.
            self._drifted["tools"] |= {_label(name) for name in self.pins.tools.keys() - own.names}
        self._listed.add(own.era)
        held = [call for call in self._held if era_of(call) == own.era]
        self._held = [call for call in self._held if era_of(call) != own.era]
        return [*actions, *(action for call in held for action in self._decide_call(call, own.era))]

    @property
    def holds_calls(self) -> bool:
        """Whether calls wait for the guard's own list of tools."""
        return bool(self._held)

    def in_flight(self) -> list[Id]:
        """Requests of the host's that have no answer yet."""
        return [*self._pending, *(call.id for call in self._held if call.id is not None)]


def _label(name: object) -> str:
    """What is kept of a name that a server chose; two that share it are quarantined together."""
    return str(name)[:200]
