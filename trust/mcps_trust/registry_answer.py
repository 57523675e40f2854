"""What a registry answers to a request: a JSON object, or an error with its own code."""

from __future__ import annotations

from typing import Any

from mcps_trust.errors import McpsError, NotPermittedError, UnavailableError
from mcps_trust.http import Response
from mcps_trust.model import strict_json

__all__ = ["RefusedByRegistryError", "read_answer"]

LIMIT = 64 * 1024 * 1024  # bytes


class RefusedByRegistryError(NotPermittedError):
    """The registry refused what was handed in; says its own reason and code."""

    code = "refused-by-registry"


def read_answer(answer: Response) -> dict[str, Any]:
    """The JSON object of a registry's answer.

    Raises:
        RefusedByRegistryError: it is an error.
        UnavailableError: it is no answer of a registry.
    """
    try:
        document = strict_json.loads(answer.body, limit=LIMIT)
        if answer.status < 300:
            return dict(document)
        reason = document["error"]
        refusal = RefusedByRegistryError(
            f"the registry refuses [{reason['code']}]: {reason['what']}",
            expected=reason.get("expected"),
            found=reason.get("found"),
            remedy=reason.get("remedy"),
        )
    except (KeyError, TypeError, ValueError, McpsError) as error:
        raise UnavailableError(
            "this does not answer as a registry", found=f"status {answer.status}"
        ) from error
    raise refusal
