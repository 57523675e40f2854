"""Text from strangers on its way to a terminal.

Escape sequences can repaint what a reviewer reads; so can marks that turn the direction of
writing. Whatever is not printable is shown as Python would write it.
"""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """`text` with everything but printable characters and line ends spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
