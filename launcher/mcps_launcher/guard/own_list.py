"""The guard's own list of a server's tools, page by page (pure)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcps_trust.model.tools import Era

__all__ = ["OwnList"]

_MAX_PAGES = 100
_LONGEST_CURSOR = 4096  # characters
_MAX_TOOLS = 10_000


@dataclass(slots=True)
class OwnList:
    """What was listed so far; of the tools only names that were vetted are kept.

    Attributes:
        era: the era that is asked in; `meta` is what its requests carry.
        vetted: names that are looked for; any other could be as long as the server likes.
        is_whole: whether the server came to a last page.
    """

    era: Era
    meta: object
    vetted: Collection[str]
    names: set[str] = field(default_factory=set)
    is_whole: bool = False
    _pages: int = 0
    _tools: int = 0

    def take(self, result: Mapping[str, Any]) -> tuple[list[Any], str | None]:
        """Take in one page; gives its tools, and the cursor of the next page to ask for."""
        page, cursor = result.get("tools"), result.get("nextCursor")
        short = isinstance(cursor, str) and len(cursor) <= _LONGEST_CURSOR
        items = page if isinstance(page, list) else []
        names = (tool.get("name") for tool in items if isinstance(tool, dict))
        self.names |= {name for name in names if isinstance(name, str) and name in self.vetted}
        self._pages += 1
        self._tools += len(items)
        self.is_whole = isinstance(page, list) and not isinstance(cursor, str)
        more = self._pages < _MAX_PAGES and self._tools < _MAX_TOOLS
        return items, cursor if isinstance(cursor, str) and short and more else None
