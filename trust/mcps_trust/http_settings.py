"""How to reach servers, as a value: apart from `http`, whose import costs 20 ms."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SYSTEM_CA_FILE", "HttpSettings"]

SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSettings:
    """How to reach servers.

    Attributes:
        ca_file: PEM file of certificate authorities.
        proxy: ``host:port`` of an HTTP proxy, or None.
        connect_timeout: seconds to connect.
        timeout: seconds for a whole answer.
    """

    ca_file: str = SYSTEM_CA_FILE
    proxy: str | None = None
    connect_timeout: float = 2.0
    timeout: float = 30.0
