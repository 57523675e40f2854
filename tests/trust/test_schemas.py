"""What we write is what our schemas say, for each format of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mcps_trust.audit.sink import AuditDirectory
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.approval import ApprovalStatement, Approvers, envelope_payload
from mcps_trust.model.entry import Entry
from mcps_trust.model.index import Index
from mcps_trust.model.revocation import Reinstatements, Revocations
from mcps_trust.model.statement import ReleaseStatement
from worlds import INITIALIZE, World, call

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = sorted(
    item.name.removesuffix(".schema.json")
    for item in files("mcps_trust.schemas").iterdir()
    if item.name.endswith(".schema.json")
)


def errors(document: Any, name: str) -> list[str]:
    """What a schema has to say against a document."""
    validator = jsonschema.Draft202012Validator(schema(name))
    return [error.message for error in validator.iter_errors(document)]


PARSERS: dict[str, Callable[[bytes], object]] = {
    "release-statement": ReleaseStatement.parse,
    "entry": Entry.parse,
    "approval": ApprovalStatement.parse,
    "approvers": Approvers.parse,
    "allow-list": AllowList.parse,
    "revocations": Revocations.parse,
    "reinstatements": Reinstatements.parse,
    "index": Index.parse,
}


def schema(name: str) -> dict[str, Any]:
    text = (files("mcps_trust.schemas") / f"{name}.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_the_index_is_as_its_schema_says() -> None:
    document = json.loads((ROOT / "index.json").read_bytes())
    jsonschema.validate(document, schema("index"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "extra": 1}, schema("index"))


@pytest.mark.parametrize("name", NAMES)
def test_each_format_has_an_example_that_is_valid(name: str) -> None:
    page = (ROOT / "docs" / "formats" / f"{name}.md").read_text("utf-8")
    example = json.loads(page.partition("```json")[2].partition("```")[0])
    jsonschema.validate(example, schema(name))
    if name in PARSERS:
        PARSERS[name](strict_json.dumps(example))
        with pytest.raises(McpsError):
            PARSERS[name](strict_json.dumps({**example, "extra": 1}))


@pytest.mark.bwrap
def test_everything_published_is_as_its_schema_says(world: World) -> None:
    entry = world.serve("echo")
    get = world.desk.repository.target
    assert errors(json.loads(entry.to_bytes()), "entry") == []
    payload, _ = envelope_payload(entry.approvals[0])
    assert errors(json.loads(payload), "approval") == []
    for path, name in (("trust/approvers.json", "approvers"), ("revoked/list.json", "revocations"),
                       ("teams/demo/allow-list.json", "allow-list"),
                       ("reinstated/list.json", "reinstatements")):  # fmt: skip
        assert errors(json.loads(get(path) or b""), name) == []
    from mcps_trust.bundle.parse import parse_bundle

    bundle = parse_bundle(world.desk.blobs.get(entry.bundle_sha256))
    assert errors(json.loads(bundle.payload), "release-statement") == []


def test_every_record_of_the_audit_is_as_its_schema_says(world: World) -> None:
    world.serve("echo")
    host = world.host("schemas")
    read = {"jsonrpc": "2.0", "id": 13, "method": "resources/list"}
    host.talk("echo", INITIALIZE, call(11, "echo", x=1), call(12, "hidden"), read)
    host.run("nothing")
    audit = AuditDirectory(host.places.audit)
    (session,) = audit.sessions.glob("*.jsonl")
    records = [json.loads(line) for place in (session, audit.host)
               for line in place.read_text().splitlines()]  # fmt: skip
    for record in records:
        assert errors(record, "audit-record") == []
    assert {record["event"] for record in records} == {
        "session-start", "self-test", "call", "call-outcome", "read", "read-outcome",
        "session-end", "host-session-open", "host-session-close", "launch-refused",
    }  # fmt: skip
    assert errors({**records[0], "colour": "red"}, "audit-record"), "all fields are named"
