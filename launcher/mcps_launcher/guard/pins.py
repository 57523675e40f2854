"""What a server may show: pins from vetting, and the tools that the entry grants (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mcps_trust.errors import McpsError
from mcps_trust.model.canonical import canonical_digest
from mcps_trust.model.tools import Captured, Era, ToolSurface
from mcps_trust.model.vetting import ToolRule

__all__ = ["Pins", "Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one listed definition: shown, or hidden and why."""

    shown: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Pins:
    """Pins by kind, era and name. Kinds are the keys of list results."""

    tools: Mapping[str, ToolRule]
    deny_tools: frozenset[str]
    _pins: Mapping[tuple[str, Era, str], frozenset[str]] = field(repr=False)

    @classmethod
    def of(
        cls, surface: ToolSurface, tools: Mapping[str, ToolRule], deny_tools: Sequence[str]
    ) -> Pins:
        """The pins of what was captured, under what was granted."""
        pins: dict[tuple[str, Era, str], set[str]] = {}
        kinds: dict[str, tuple[tuple[Captured, ...], str]] = {
            "tools": (surface.items, "name"),
            "prompts": (surface.prompts, "name"),
            "resourceTemplates": (surface.resource_templates, "uriTemplate"),
            "instructions": (surface.instructions, ""),
        }
        for kind, (items, key) in kinds.items():
            for item in items:
                name = str(item.definition[key]) if key else ""
                for era in item.eras:
                    pins.setdefault((kind, era, name), set()).add(item.pin)
        frozen = {key: frozenset(value) for key, value in pins.items()}
        return cls(tools=tools, deny_tools=frozenset(deny_tools), _pins=frozen)

    def judge(self, kind: str, era: Era, name: object, definition: object) -> Verdict:
        """Whether a definition that the server lists now is the one that was vetted."""
        if not isinstance(name, str):
            return Verdict(shown=False, reason="drift")
        known = self._pins.get((kind, era, name))
        try:
            pin = canonical_digest(definition)
        except McpsError:
            return Verdict(shown=False, reason="drift")
        if known is None or pin not in known:
            return Verdict(shown=False, reason="drift")
        if kind == "tools" and not self.is_granted(name):
            return Verdict(shown=False, reason="not-granted")
        return Verdict(shown=True)

    def instructions_hold(self, era: Era, text: object) -> bool:
        """Whether instructions are those that were vetted."""
        return self.judge("instructions", era, "", {"instructions": text}).shown

    def is_granted(self, tool: str) -> bool:
        """Whether the entry has a rule for the tool and the team has not taken it away."""
        return tool in self.tools and tool not in self.deny_tools

    def knows_tool(self, era: Era, name: str) -> bool:
        """Whether a tool of that name was vetted for that era."""
        return ("tools", era, name) in self._pins

    def knows_prompt(self, era: Era, name: object) -> bool:
        """Whether a prompt of that name was vetted."""
        return isinstance(name, str) and ("prompts", era, name) in self._pins


def refusal_of(rule: ToolRule | None) -> tuple[str, str] | None:
    """Why a call of a tool under `rule` is refused: a code, and words; None if it is not."""
    if rule is None:
        return "tool-not-granted", "this tool is not granted to this team"
    if rule.approval != "none":
        return "approval-needed", (
            f"this tool ({rule.tool_class}) needs the approval of "
            + ("two people" if rule.approval == "two-person" else "a person")
            + ", which this version of mcps cannot ask for"
        )
    if rule.arguments is not None:
        return "arguments-not-checked", (
            "this tool's arguments are restricted, which this version of mcps cannot check"
        )
    return None
