"""What all tests share: worlds made once, with real parts."""

from __future__ import annotations

pytest_plugins = ["worlds"]
