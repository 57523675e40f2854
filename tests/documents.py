"""The example of each format's page, to be changed and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["example"]

FORMATS = Path(__file__).resolve().parent.parent / "docs" / "formats"


def example(name: str) -> Any:
    """The example of a format's page."""
    page = (FORMATS / f"{name}.md").read_text("utf-8")
    return json.loads(page.partition("```json")[2].partition("```")[0])
