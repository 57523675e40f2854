"""JSON is read so that no two readers can disagree."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a":1,"a":2}', "json-duplicate-key"),
        ('{"a":{"b":1,"b":1}}', "json-duplicate-key"),
        ("NaN", "json-not-a-number"),
        ("[-Infinity]", "json-not-a-number"),
        ("1e999", "json-not-a-number"),
        ('"\\ud800"', "json-unpaired-surrogate"),
        ("[" * 65 + "]" * 65, "json-too-deep"),
        ("[" * 100_000, "json-too-deep"),
        ("{", "json-syntax"),
        ("1 2", "json-syntax"),
        ("\ufeff1", "json-syntax"),
        ("", "json-syntax"),
        ("9" * 5000, "json-syntax"),
    ],
)
def test_a_document_that_readers_may_differ_on_is_refused(text: str, code: str) -> None:
    with pytest.raises(McpsError) as caught:
        strict_json.loads(text.encode("utf-8"))
    assert caught.value.code == code
    assert strict_json.loads(b'{"a":1,"b":[[2]]}') == {"a": 1, "b": [[2]]}


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    with pytest.raises(strict_json.JsonSyntaxError):
        strict_json.loads(b'"\xff"')
    assert strict_json.loads('"ÿ"'.encode()) == "ÿ"


def test_a_document_over_its_limit_is_not_looked_at() -> None:
    with pytest.raises(strict_json.TooLargeError):
        strict_json.loads(b"not even JSON", limit=5)
    assert strict_json.loads(b"12345", limit=5) == 12345


def test_sixty_four_levels_are_the_most() -> None:
    assert strict_json.loads(b"[" * 64 + b"]" * 64)


@given(VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    """parse ∘ serialise = identity."""
    assert strict_json.loads_canonical(strict_json.dumps(value)) == value


@given(VALUES)
def test_another_spelling_of_the_same_value_is_not_ours(value: object) -> None:
    other = json.dumps(value, indent=1).encode()
    if other == strict_json.dumps(value):
        return
    with pytest.raises(strict_json.JsonSyntaxError):
        strict_json.loads_canonical(other)


def test_a_large_document_is_refused_as_fast_as_it_is_read() -> None:
    """Neither a key that stands twice nor many small values cost more than the text is long."""
    began = time.monotonic()
    keys = ",".join(f'"k{number}":1' for number in range(200_000))
    with pytest.raises(McpsError) as caught:
        strict_json.loads(f'{{{keys},"k199999":2}}'.encode(), limit=1 << 24)
    assert caught.value.code == "json-duplicate-key"
    for data in (b"[" + b"{}," * 600_000 + b"{}]", b"[" + b"1," * 600_000 + b"1]"):
        with pytest.raises(McpsError) as caught:
            strict_json.loads(data, limit=1 << 24)
        assert caught.value.code == "json-too-large"
    crowded = b'["[", ' + b"1," * 600_000 + b"1]"
    with pytest.raises(McpsError) as caught:
        strict_json.loads(crowded, limit=1 << 24)
    assert caught.value.code == "json-too-large"
    text = json.dumps({"text": 'a, [b] {c} \\ "d"' * 100_000}).encode()
    assert strict_json.loads(text, limit=1 << 24), "what stands in texts is not counted"
    assert time.monotonic() - began < 20
