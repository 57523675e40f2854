"""The protocol's methods, by what the guard does with them (MCP specification)."""

from __future__ import annotations

__all__ = ["HOUSEKEEPING", "LISTS", "POLICED", "SERVER_MAY_ASK"]

LISTS = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
"""Lists whose definitions are pinned: the member that has them, and what names each."""

POLICED = frozenset((*LISTS, "initialize", "server/discover"))
"""Requests whose answers are looked into."""

HOUSEKEEPING = frozenset((*POLICED, "ping", "logging/setLevel"))
"""What says nothing but what there is; every other request of the host is written down."""

SERVER_MAY_ASK = frozenset({"ping", "roots/list"})
"""What a server of the legacy era may ask of the host; the rest is refused."""
