"""JSON-RPC 2.0 messages, read strictly (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mcps_trust.errors import McpsError, UntrustedDataError
from mcps_trust.model import strict_json
from mcps_trust.model.canonical import canonical
from mcps_trust.model.tools import Era

__all__ = ["BadMessageError", "Id", "Message", "encode", "era_of", "error_answer", "parse_line",
           "tool_refusal"]  # fmt: skip

Id = int | str
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion"

_OTHER_NEWLINES = (b"\r", b"\x0b", b"\x0c", "\u2028".encode(), "\u2029".encode(), "\u0085".encode())

_LONGEST_ID = 1024  # characters; refusals carry it back
_LARGEST_ID = 2**53 - 1

# JSON-RPC 2.0 §5.1
PARSE_ERROR, INVALID_REQUEST = -32700, -32600
REFUSED = 1077
"""Outside the reserved -32768…-32000; 1000 and our exit code for "not permitted"."""


class BadMessageError(UntrustedDataError):
    """A line is JSON, and no JSON-RPC message."""

    code = "bad-message"


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `raw` is the line as it came; `value` is what it says."""

    kind: Literal["request", "notification", "response"]
    id: Id | None
    method: str
    value: Mapping[str, Any]
    raw: bytes

    @property
    def line(self) -> bytes:
        """The line to pass on: as it came, unless some reader would split it elsewhere.

        A carriage return between tokens, and Unicode's own line separators in texts, end a
        line for readers with "universal newlines"; escaped they do not.
        """
        if any(separator in self.raw for separator in _OTHER_NEWLINES):
            return json.dumps(self.value, separators=(",", ":")).encode() + b"\n"
        return self.raw + b"\n"

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters; empty where there are none."""
        params = self.value.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def result(self) -> Mapping[str, Any] | None:
        """The result of a response that is no error."""
        result = self.value.get("result")
        return result if isinstance(result, dict) else None


def parse_line(line: bytes, limit: int) -> list[Message] | Message:
    """Read a line: one message, or a batch of them.

    Raises:
        BadMessageError: it is not JSON-RPC.
        UntrustedDataError: it is not strict JSON.
    """
    value = strict_json.loads(line, limit=limit)
    if isinstance(value, list):
        if not value:
            raise BadMessageError("an empty batch")
        return [parse_value(item, encode(item)[:-1]) for item in value]
    return parse_value(value, line)


_KNOWN = frozenset((
    "jsonrpc", "id", "method", "params", "result", "error", "tools", "prompts",
    "resourceTemplates", "instructions", "nextCursor", "resultType", "name", "arguments", "uri",
    "_meta", "protocolVersion", "requestId",
))  # fmt: skip
_FOLDED = frozenset(key.casefold() for key in _KNOWN)


def _check_keys(value: object) -> None:
    """Refuse keys that only some readers take for a known one: others do not mind the case.

    Raises:
        BadMessageError: there is one.
    """
    if isinstance(value, dict):
        for key in value:
            if key not in _KNOWN and key.casefold() in _FOLDED:
                raise BadMessageError("a key is a known one in another case", found=key[:100])


def parse_value(value: object, raw: bytes) -> Message:
    """Read one decoded message.

    Raises:
        BadMessageError: it is not JSON-RPC.
    """
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise BadMessageError("not a JSON-RPC 2.0 message")
    for part in (value, value.get("params"), value.get("result")):
        _check_keys(part)
    method, has_id = value.get("method"), "id" in value
    identity = value.get("id")
    if (
        has_id
        and (isinstance(identity, bool) or not isinstance(identity, int | str))
        and not (identity is None and "error" in value)
    ):
        raise BadMessageError("an id is a text or a whole number", found=repr(identity)[:100])
    if isinstance(identity, str) and len(identity) > _LONGEST_ID:
        raise BadMessageError(
            "an id that is too long", expected=f"at most {_LONGEST_ID} characters"
        )
    if isinstance(identity, int) and abs(identity) > _LARGEST_ID:
        raise BadMessageError("an id that readers round", expected=f"at most {_LARGEST_ID}")
    if isinstance(method, str):
        if "result" in value or "error" in value:
            raise BadMessageError("a message is a request or a response, not both")
        return Message("request" if has_id else "notification", identity, method, value, raw)
    if method is None and has_id and ("result" in value) != ("error" in value):
        return Message("response", identity, "", value, raw)
    raise BadMessageError("neither a request, a notification nor a response")


def era_of(message: Message) -> Era:
    """Which era a request belongs to: the modern one says so in every request."""
    meta = message.params.get("_meta")
    is_modern = isinstance(meta, dict) and _PROTOCOL_VERSION in meta
    return "modern" if is_modern else "legacy"


def encode(value: object) -> bytes:
    """Our own serialisation of a message that was decided about, newline included."""
    return _ENCODER.encode(value).encode() + b"\n"


def error_answer(identity: Id | None, code: int, text: str, data: object = None) -> bytes:
    """A JSON-RPC error."""
    error: dict[str, Any] = {"code": code, "message": text}
    if data is not None:
        error["data"] = data
    return encode({"jsonrpc": "2.0", "id": identity, "error": error})


def tool_refusal(identity: Id | None, era: Era, text: str) -> bytes:
    """A tool's result that says no, in words that the model can read."""
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    if era == "modern":
        result["resultType"] = "complete"
    return encode({"jsonrpc": "2.0", "id": identity, "result": result})


def canonical_form(value: object) -> bytes | None:
    """The RFC 8785 form, which the audit writes a digest of; None where there is none."""
    try:
        return canonical(value)
    except McpsError:
        return None


def outcome_of(message: Message) -> str:
    """How a call or read ended, in one word for the audit."""
    if "error" in message.value:
        return "error"
    return "tool-error" if (message.result or {}).get("isError") is True else "ok"
