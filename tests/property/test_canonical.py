"""Our fast path gives what RFC 8785 asks for, wherever it is taken."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from mcps_trust.model.canonical import NotCanonicalError, canonical

KEYS = st.text(st.characters(codec="utf-8"), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(VALUES)
def test_it_is_the_reference_implementations_spelling(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # JSON values


@pytest.mark.parametrize("value", [2**53, [-(2**60)], {"a": "\ud800"}, float("nan"), {1: 2}])
def test_a_value_without_a_form_is_refused(value: object) -> None:
    assert canonical(2**53 - 1) == b"9007199254740991"
    with pytest.raises(NotCanonicalError):
        canonical(value)
