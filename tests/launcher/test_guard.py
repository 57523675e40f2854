"""What the guard does with each message: a table of lines in and actions out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guards import ECHO, PAY, audited, line, listed, to_client, to_server
from mcps_launcher.guard.actions import Action, Audit, ToClient, ToServer
from mcps_launcher.guard.decide import Guard


def test_the_first_call_waits_for_the_guards_own_list(guard: Guard) -> None:
    actions = listed(guard, ECHO, PAY)
    assert [m["method"] for m in to_server(actions)] == ["tools/call"]
    assert isinstance(actions[0], Audit), "written down before it is forwarded"
    assert not guard.holds_calls


@pytest.mark.parametrize(
    ("tool", "code"),
    [("pay", "approval-needed"), ("ghost", "tool-not-granted"), (None, "tool-not-granted")],
)
def test_a_call_that_is_not_granted_is_a_tool_error(
    guard: Guard, tool: str | None, code: str
) -> None:
    listed(guard, ECHO, PAY)
    actions = guard.from_client(line(id=2, method="tools/call", params={"name": tool}))
    assert audited(actions) == [("call", code)]
    (answer,) = to_client(actions)
    assert answer["id"] == 2
    assert answer["result"]["isError"] is True
    assert f"[{code}]" in answer["result"]["content"][0]["text"]
    assert to_server(actions) == []
    allowed = guard.from_client(line(id=3, method="tools/call", params={"name": "echo"}))
    assert to_server(allowed)


@pytest.mark.parametrize(
    "changed",
    [
        {**ECHO, "annotations": {"readOnlyHint": False}},
        {**ECHO, "description": "now with orders for the model"},
        {**ECHO, "_meta": {}},
        {**ECHO, "inputSchema": {"type": "object", "properties": {"x": {}}}},
    ],
)
def test_a_changed_definition_is_quarantined(guard: Guard, changed: dict[str, Any]) -> None:
    actions = listed(guard, changed, PAY)
    assert ("drift", None) in audited(actions)
    assert "[drift]" in to_client(actions)[0]["result"]["content"][0]["text"]
    guard.from_client(line(id=5, method="tools/list"))
    shown = to_client(guard.from_server(line(id=5, result={"tools": [changed, PAY]})))
    assert [tool["name"] for tool in shown[0]["result"]["tools"]] == ["pay"]


@pytest.mark.parametrize("name", [["echo"], {"echo": 1}, None, 7, True])
def test_a_tool_without_a_name_is_drift_and_no_more(guard: Guard, name: object) -> None:
    actions = listed(guard, {"name": name}, ECHO, PAY)
    assert audited(actions) == [("drift", None), ("call", "granted")]


def test_a_changed_prompt_is_quarantined(guard: Guard) -> None:
    get = {"method": "prompts/get", "params": {"name": "hello"}}
    assert to_server(guard.from_client(line(id=1, **get)))
    guard.from_client(line(id=2, method="prompts/list"))
    changed = {"name": "hello", "description": "now with orders for the model"}
    actions = guard.from_server(line(id=2, result={"prompts": [changed]}))
    assert to_client(actions)[0]["result"]["prompts"] == []
    refused = guard.from_client(line(id=3, **get))
    assert audited(refused) == [("read", "drift")] and not to_server(refused)


def test_the_list_is_asked_for_again_after_it_changed(guard: Guard) -> None:
    listed(guard, ECHO, PAY)
    guard.from_server(line(method="notifications/tools/list_changed"))
    actions = guard.from_client(line(id=9, method="tools/call", params={"name": "echo"}))
    assert [m["method"] for m in to_server(actions)] == ["tools/list"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"pay"}}', "not-a-notification"),
        (b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]', "batch"),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}', "json-duplicate-key"),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","Method":"ping"}', "bad-message"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"Name":"pay"}}', "bad-message"),
        (b'{"jsonrpc":"2.0","id":true,"method":"tools/list"}', "bad-message"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}', "bad-message"),
        (b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}', "bad-message"),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}', "bad-message"),
        (b'{"jsonrpc":"2.0","id":7,"result":{}}', "unexpected-response"),
        (b"\xff", "json-syntax"),
        (b"not JSON", "json-syntax"),
    ],
)
def test_what_a_host_may_not_send_never_reaches_the_server(
    guard: Guard, raw: bytes, reason: str
) -> None:
    actions = guard.from_client(raw)
    assert to_server(actions) == []
    assert audited(actions) == [("message-refused", reason)]
    assert to_server(guard.from_client(line(id=1, method="tools/list")))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (line(id=1, method="sampling/createMessage"), "server-request"),
        (line(id=1, method="elicitation/create"), "server-request"),
        (line(id=1, method="anything/else"), "server-request"),
        (line(method="tools/call", params={}), "not-a-notification"),
        (line(id=99, result={}), "unexpected-response"),
        (b"noise on stdout", "json-syntax"),
        (b"[]", "bad-message"),
        (b"[" + line(id=1, result={}) + b"]", "batch"),
    ],
)
def test_what_a_server_may_not_send_never_reaches_the_host(
    guard: Guard, raw: bytes, reason: str
) -> None:
    actions = guard.from_server(raw)
    assert to_client(actions) == []
    assert audited(actions) == [("message-refused", reason)]
    assert to_client(guard.from_server(line(id=1, method="roots/list")))


def test_instructions_that_changed_are_taken_out(guard: Guard) -> None:
    def greeting(text: str) -> list[Action]:
        guard.from_client(line(id=text, method="initialize"))
        result = {"protocolVersion": "2025-11-25", "instructions": text, "vendor": 1}
        return guard.from_server(line(id=text, result=result))

    assert to_client(greeting("be nice"))[0]["result"]["instructions"] == "be nice"
    changed = greeting("be evil")
    assert audited(changed) == [("drift", None)]
    assert to_client(changed)[0]["result"] == {"protocolVersion": "2025-11-25", "vendor": 1}


def test_what_is_not_policed_passes_byte_for_byte(guard: Guard) -> None:
    raw = b'{ "jsonrpc" : "2.0","id":1,"method":"vendor/x","params":{"n":1.50e2} }'
    assert ToServer(raw + b"\n") in guard.from_client(raw)
    answer = '{"jsonrpc":"2.0", "id":1,"result":{"z":"\u00a0\u200d","a":1.0}}'.encode()
    assert ToClient(answer + b"\n") in guard.from_server(answer)


def test_a_line_that_others_would_split_is_escaped(guard: Guard) -> None:
    raw = '{"jsonrpc":"2.0","id":1,"method":"x","params":\r{"t":"a\u2028b"}}'.encode()
    (action,) = (a for a in guard.from_client(raw) if isinstance(a, ToServer))
    assert action.line.count(b"\r") == 0
    assert len(action.line.decode().splitlines()) == 1
    assert json.loads(action.line)["params"] == {"t": "a\u2028b"}


def test_an_integer_that_readers_round_is_refused_as_an_argument(guard: Guard) -> None:
    listed(guard, ECHO, PAY)
    params = {"name": "echo", "arguments": {"id": 2**53}}
    actions = guard.from_client(line(id=4, method="tools/call", params=params))
    assert audited(actions) == [("call", "not-canonical")]
    assert to_server(actions) == []


def test_a_request_for_input_is_refused(guard: Guard) -> None:
    listed(guard, ECHO, PAY)
    guard.from_client(line(id=4, method="tools/call", params={"name": "echo"}))
    asked = {"resultType": "input_required", "inputRequests": {}}
    actions = guard.from_server(line(id=4, result=asked))
    assert ("message-refused", "input-required") in audited(actions)
    assert to_client(actions)[0]["result"]["isError"] is True


def test_a_cancelled_call_is_not_made(guard: Guard) -> None:
    guard.from_client(line(id=1, method="tools/call", params={"name": "echo"}))
    guard.from_client(line(method="notifications/cancelled", params={"requestId": 1}))
    assert not guard.holds_calls


def test_an_id_in_use_is_refused(guard: Guard) -> None:
    assert to_server(guard.from_client(line(id=1, method="tools/list")))
    again = guard.from_client(line(id=1, method="tools/list"))
    assert to_server(again) == []
    assert to_client(again)[0]["error"]["code"] == -32600
    assert to_server(guard.from_client(line(id="1", method="tools/list"))), "1 is not '1'"


def test_an_id_of_a_call_that_waits_is_in_use(guard: Guard) -> None:
    params = {"name": "echo"}
    assert to_server(guard.from_client(line(id=1, method="tools/call", params=params)))
    for identity in (1, "mcps-guard-1"):
        again = guard.from_client(line(id=identity, method="tools/call", params=params))
        assert to_client(again)[0]["error"]["code"] == -32600 and not to_server(again)
    waiting = guard.from_client(line(id=2, method="tools/call", params=params))
    assert waiting == [], "the list is asked for once"
    assert guard.in_flight() == [1, 2]


def test_an_integer_that_readers_round_is_refused_in_a_read(guard: Guard) -> None:
    params = {"uri": "file:///x", "n": 2**60}
    actions = guard.from_client(line(id=1, method="resources/read", params=params))
    assert audited(actions) == [("read", "not-canonical")] and not to_server(actions)
    assert to_client(actions)[0]["error"]["data"] == {"code": "not-canonical"}


def test_a_read_and_its_outcome_are_audited(guard: Guard) -> None:
    params = {"uri": "file:///x"}
    actions = guard.from_client(line(id=1, method="resources/read", params=params))
    assert audited(actions) == [("read", None)] and to_server(actions)
    for message, outcome in (
        ({"result": {"contents": []}}, "ok"),
        ({"error": {"code": 1, "message": "no"}}, "error"),
    ):
        answer = guard.from_server(line(id=1, **message))
        assert to_client(answer)
        found = [a.body["outcome"] for a in answer if isinstance(a, Audit)]
        assert found == [outcome]
        guard.from_client(line(id=1, method="resources/read", params=params))
    missing = guard.from_client(line(id=2, method="prompts/get", params={"name": "unknown"}))
    assert audited(missing) == [("read", "drift")] and not to_server(missing)


@pytest.mark.parametrize(
    ("method", "event"),
    [("resources/read", "read"), ("resources/list", "read"), ("resources/subscribe", "read"),
     ("completion/complete", "read"), ("tasks/result", "read"), ("example/own", "read"),
     ("ping", None), ("tools/list", None), ("initialize", None), ("logging/setLevel", None)],
)  # fmt: skip
def test_every_request_is_written_down_but_housekeeping(
    guard: Guard, method: str, event: str | None
) -> None:
    guard.clock = lambda: 100.0
    actions = guard.from_client(line(id=1, method=method, params={}))
    assert [m["method"] for m in to_server(actions)] == [method]
    assert audited(actions) == ([(event, None)] if event else [])
    guard.clock = lambda: 100.25
    outcomes = [a for a in guard.from_server(line(id=1, result={})) if isinstance(a, Audit)]
    if event:
        assert [outcome.event for outcome in outcomes] == ["read-outcome"]
        assert outcomes[0].body["duration"] == 250_000, "microseconds"


def test_a_batch_is_taken_apart_where_the_protocol_has_them(guard: Guard) -> None:
    guard.from_client(line(id=0, method="initialize"))
    guard.from_server(line(id=0, result={"protocolVersion": "2025-03-26"}))
    batch = b"[" + line(id=1, method="tools/list") + b"," + line(id=2, method="ping") + b"]"
    assert [m["id"] for m in to_server(guard.from_client(batch))] == [1, 2]
    answers = b"[" + line(id=1, result={"tools": [PAY]}) + b"," + line(id=2, result={}) + b"]"
    assert [m["id"] for m in to_client(guard.from_server(answers))] == [1, 2]
    smuggled = b"[" + line(id=3, method="tools/call", params={"name": "pay"}) + b"]"
    waiting = to_server(guard.from_client(smuggled))
    assert [m["method"] for m in waiting] == ["tools/list"], "a call in a batch is a call"


@pytest.mark.parametrize("tools", [None, {}, "x", 7])
def test_a_list_that_is_none_is_an_error_for_the_host(guard: Guard, tools: object) -> None:
    guard.from_client(line(id=1, method="tools/list"))
    actions = guard.from_server(line(id=1, result={"tools": tools}))
    assert to_client(actions)[0]["error"]["data"] == {"code": "bad-answer"}
    assert audited(actions) == [("message-refused", "bad-answer")]
    guard.from_client(line(id=2, method="tools/list"))
    passed = guard.from_server(line(id=2, error={"code": -32601, "message": "no"}))
    assert to_client(passed)[0]["error"]["code"] == -32601


def test_a_server_may_ask_for_what_is_harmless_and_gets_the_answer(guard: Guard) -> None:
    for method in ("ping", "roots/list"):
        assert to_client(guard.from_server(line(id=5, method=method)))
        assert to_server(guard.from_client(line(id=5, result={})))
        assert not to_server(guard.from_client(line(id=5, result={}))), "once"
    assert to_client(guard.from_server(line(method="notifications/message", params={})))
    assert to_server(guard.from_client(line(method="notifications/initialized")))


def test_the_modern_era_lists_with_the_same_meta(guard: Guard) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    params = {"name": "echo", "_meta": meta}
    (asked,) = to_server(guard.from_client(line(id=1, method="tools/call", params=params)))
    assert asked["params"]["_meta"] == meta
    actions = guard.from_server(line(id=asked["id"], result={"tools": [ECHO]}))
    assert ("drift", None) in audited(actions), "it was vetted in the other era"
    assert to_client(actions)[0]["result"]["resultType"] == "complete"


def test_a_call_that_is_cancelled_while_the_list_is_read_quarantines_nothing(guard: Guard) -> None:
    (asked,) = to_server(
        guard.from_client(line(id=1, method="tools/call", params={"name": "echo"}))
    )
    guard.from_client(line(method="notifications/cancelled", params={"requestId": 1}))
    more = guard.from_server(line(id=asked["id"], result={"tools": [PAY], "nextCursor": "c"}))
    (asked,) = to_server(more)
    guard.from_server(line(id=asked["id"], result={"tools": [ECHO]}))
    called = guard.from_client(line(id=2, method="tools/call", params={"name": "echo"}))
    assert audited(called) == [("call", "granted")]


@pytest.mark.parametrize("method", ["tools/list", "prompts/list", "initialize"])
def test_an_answer_that_is_no_object_is_not_passed_on(guard: Guard, method: str) -> None:
    guard.from_client(line(id=1, method=method))
    actions = guard.from_server(line(id=1, result=[ECHO]))
    assert audited(actions) == [("message-refused", "bad-answer")]
    assert to_client(actions)[0]["error"]["data"] == {"code": "bad-answer"}


def test_a_tool_of_one_era_is_not_called_in_the_other(guard: Guard) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    params = {"name": "echo", "_meta": meta}
    (asked,) = to_server(guard.from_client(line(id=1, method="tools/call", params=params)))
    actions = guard.from_server(line(id=asked["id"], result={"tools": []}))
    assert audited(actions) == [("call", "drift")] and not to_server(actions)
