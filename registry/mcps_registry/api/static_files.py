"""Metadata, targets and blobs as plain files.

404 for whatever is absent (a client must never take an error page for metadata), strong
ETags, and caching that says the truth: only ``timestamp.json`` ever changes.
"""

from __future__ import annotations

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

__all__ = ["StaticFiles"]

_PATH = re.compile(r"(metadata|targets|blobs)(/[A-Za-z0-9][A-Za-z0-9._+-]{0,200}){1,8}")
_IMMUTABLE = "public, max-age=31536000, immutable"
_BRIEF = "public, max-age=30"


class StaticFiles:
    """Serves what lies below one folder."""

    def __init__(self, public: Path) -> None:
        self._public = public

    async def serve(self, request: Request) -> Response:
        """Answer a GET or HEAD."""
        path = request.url.path.lstrip("/")
        if not _PATH.fullmatch(path):
            return Response(status_code=404)
        place = self._public / path
        if not place.is_file():
            # Kept short: a "no newer root" that a cache holds delays a rotation.
            return Response(status_code=404, headers={"Cache-Control": _BRIEF})
        stat = place.stat()
        etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        mutable = path == "metadata/timestamp.json"
        headers = {"ETag": etag, "Cache-Control": _BRIEF if mutable else _IMMUTABLE}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        kind = "application/json" if path.endswith(".json") else "application/octet-stream"
        return FileResponse(place, headers=headers, media_type=kind)
