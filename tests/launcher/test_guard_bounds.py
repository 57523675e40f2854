"""What a server or host may pile up in the guard, and no more."""

from __future__ import annotations

from guards import ECHO, PAY, audited, line, listed, to_client, to_server
from mcps_launcher.guard.actions import Action, Audit
from mcps_launcher.guard.decide import MAX_REFUSED, Guard


def test_a_list_without_end_is_not_followed_for_ever(guard: Guard) -> None:
    (asked,) = to_server(guard.from_client(line(id=1, method="tools/call",
                                                params={"name": "echo"})))  # fmt: skip
    for _ in range(1000):
        actions = guard.from_server(line(id=asked["id"], result={"tools": [], "nextCursor": "c"}))
        sent = to_server(actions)
        if not sent:
            break
        (asked,) = sent
    assert to_client(actions)[0]["result"]["isError"] is True


def test_refusals_are_counted(guard: Guard) -> None:
    for _ in range(MAX_REFUSED + 1):
        guard.from_server(b"noise")
    assert guard.refused > MAX_REFUSED


def test_calls_do_not_pile_up_before_the_first_list(guard: Guard) -> None:
    refused: list[Action] = []
    for number in range(100):
        refused = guard.from_client(line(id=number, method="tools/call", params={"name": "echo"}))
    assert to_client(refused)[0]["result"]["isError"] is True
    assert len(guard.in_flight()) < 100


def test_inventing_tools_without_end_is_counted_and_told_in_short(guard: Guard) -> None:
    invented = [{"name": f"tool-{number}"} for number in range(5000)]
    actions = listed(guard, *invented, ECHO, PAY)
    records = [action for action in actions if isinstance(action, Audit)]
    assert len(records) < 50 and guard.refused > MAX_REFUSED
    assert any(record.body.get("more") for record in records)
    assert to_server(actions)[0]["method"] == "tools/call", "what was vetted still is"


def test_of_the_guards_own_list_only_vetted_names_are_kept(guard: Guard) -> None:
    """Page by page, others could be as long as a line may be."""
    (asked,) = to_server(
        guard.from_client(line(id=1, method="tools/call", params={"name": "echo"}))
    )
    for number in range(5):
        page = [{"name": f"filler-{number}" + "x" * 100_000, "description": "x"}, PAY]
        actions = guard.from_server(line(id=asked["id"], result={"tools": page, "nextCursor": "c"}))
        (asked,) = to_server(actions)
    (own,) = guard._own.values()
    assert own.names == {"pay"}
    assert all(len(name) <= 200 for name in guard._drifted["tools"])
    done = guard.from_server(line(id=asked["id"], result={"tools": [ECHO]}))
    assert [message["method"] for message in to_server(done)] == ["tools/call"]


def test_questions_of_the_server_and_batches_have_a_bound(guard: Guard) -> None:
    passed = [to_client(guard.from_server(line(id=n, method="ping"))) for n in range(100)]
    assert 0 < sum(map(bool, passed)) < 100
    for number in (2**53, -(2**53), 2**63):
        refused = guard.from_server(line(id=number, method="ping"))
        assert audited(refused) == [("message-refused", "bad-message")]
    guard.from_client(line(id="v", method="initialize"))
    guard.from_server(line(id="v", result={"protocolVersion": "2025-03-26"}))
    batch = b"[" + b",".join(line(id=n, method="ping") for n in range(500)) + b"]"
    assert audited(guard.from_server(batch)) == [("message-refused", "batch")]
    assert audited(guard.from_client(batch)) == [("message-refused", "batch")]


def test_what_a_server_has_sent_back_to_itself_is_short(guard: Guard) -> None:
    """Its own text in a refusal, and its cursor in the guard's next question, wait in memory."""
    long = "x" * 1_000_000
    refused = guard.from_server(line(id=long, method="sampling/createMessage"))
    assert to_server(refused) == [] and audited(refused) == [("message-refused", "bad-message")]
    assert to_server(guard.from_server(line(id="x" * 1024, method="sampling/createMessage")))
    (asked,) = to_server(
        guard.from_client(line(id=1, method="tools/call", params={"name": "echo"}))
    )
    page = {"tools": [ECHO], "nextCursor": long}
    after = guard.from_server(line(id=asked["id"], result=page))
    assert [message["method"] for message in to_server(after)] == ["tools/call"]
    assert "pay" in guard._drifted["tools"], "what was not seen cannot be held to be as it was"
