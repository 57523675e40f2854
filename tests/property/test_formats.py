"""Each format of ours, with any one field changed: refused in words, or read as what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from documents import example
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.approval import ApprovalStatement, Approvers
from mcps_trust.model.entry import Entry
from mcps_trust.model.revocation import Reinstatements, Revocations
from mcps_trust.model.statement import ReleaseStatement
from mutations import edited, mutations, paths, spell

READERS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "release-statement": (ReleaseStatement.parse, ReleaseStatement.to_payload),
    "entry": (Entry.parse, Entry.to_bytes),
    "approval": (ApprovalStatement.parse, ApprovalStatement.to_payload),
    "approvers": (Approvers.parse, Approvers.to_bytes),
    "allow-list": (AllowList.parse, AllowList.to_bytes),
    "revocations": (Revocations.parse, Revocations.to_bytes),
    "reinstatements": (Reinstatements.parse, Reinstatements.to_bytes),
}
WRONG: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**60,
    1.5,
    "",
    "x",
    "../x",
    "\u202e",
    [],
    [None],
    {},
    {"x": 1},
)


@pytest.mark.parametrize("name", READERS)
def test_what_is_read_is_written_again_and_nothing_else_is_read(name: str) -> None:
    """Parse and serialise are each other's inverse, for every neighbour of a valid document."""
    parse, write = READERS[name]
    document = example(name)
    genuine = strict_json.dumps(document)
    assert write(parse(genuine)) == genuine
    refused = 0
    for what, data in mutations(document):
        try:
            value = parse(data)
        except McpsError:
            refused += 1
            continue
        assert not what.startswith("duplicated"), what
        assert write(value) == data, what
    assert refused > 5


@pytest.mark.parametrize("name", READERS)
def test_no_value_in_any_place_is_more_than_an_error_of_ours(name: str) -> None:
    parse, write = READERS[name]
    document = example(name)
    for path in paths(document):
        for value in WRONG:
            data = spell(edited(document, path, lambda _old, new=value: new))  # type: ignore[misc]  # a lambda's default
            try:
                read = parse(data)
            except McpsError:
                continue
            assert write(read) == data, f"{path} {value!r}"
