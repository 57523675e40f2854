"""Lines are the same, however the bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcps_launcher.guard.framing import Lines, LineTooLongError


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"."))),
       st.lists(st.integers(1, 17), min_size=1))  # fmt: skip
def test_any_cutting_gives_the_same_lines(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    splitter, found, position, turn = Lines(), [], 0, 0
    while position < len(data):
        size = cuts[turn % len(cuts)]
        found += splitter.feed(data[position : position + size])
        position, turn = position + size, turn + 1
    assert found == lines
    assert splitter.rest() == b""


def test_only_a_newline_ends_a_line() -> None:
    data = "a\rb\u2028c\u0085d\x0be".encode()
    assert Lines().feed(data + b"\n") == [data]


@pytest.mark.parametrize("chunks", [[b"x" * 11], [b"x" * 6, b"x" * 6], [b"x" * 11 + b"\n"]])
def test_a_line_without_end_is_refused(chunks: list[bytes]) -> None:
    splitter = Lines(limit=10)
    assert splitter.feed(b"x" * 10 + b"\n") == [b"x" * 10]
    with pytest.raises(LineTooLongError):
        for chunk in chunks:
            splitter.feed(chunk)
