"""What all tests share: see `worlds` for the fixtures."""

from __future__ import annotations

pytest_plugins = ["worlds", "ordinary_user", "office", "guards"]
