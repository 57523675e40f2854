"""What reviewers say of a server beside its grant: the class of each tool, and a tier.

Apart from `entry`, because each start reads it and few need the rest of an entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from mcps_trust.model.fields import Fields

__all__ = ["APPROVALS", "CLASSES", "TIERS", "ApprovalKind", "Tier", "ToolClass", "ToolRule"]

ToolClass = Literal["read", "write", "destructive", "payment"]
ApprovalKind = Literal["none", "user", "two-person"]
Tier = Literal["low", "normal", "high"]

CLASSES: tuple[ToolClass, ...] = ("read", "write", "destructive", "payment")
APPROVALS: tuple[ApprovalKind, ...] = ("none", "user", "two-person")
TIERS: tuple[Tier, ...] = ("low", "normal", "high")


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolRule:
    """How one tool may be called.

    `arguments` is a JSON Schema that narrows the tool's own; None narrows nothing.
    """

    tool_class: ToolClass
    approval: ApprovalKind
    arguments: Mapping[str, Any] | None = None

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        rule = cls(
            tool_class=fields.choice("class", CLASSES),
            approval=fields.choice("approval", APPROVALS),
            arguments=fields.optional("arguments", fields.mapping),
        )
        fields.done()
        return rule

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        narrowed = {} if self.arguments is None else {"arguments": dict(self.arguments)}
        return {"class": self.tool_class, "approval": self.approval, **narrowed}
