"""python-tuf's fetcher interface over our `Http`, and one for when there is no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient import FetcherInterface

from mcps_trust.errors import McpsError
from mcps_trust.http import Http

__all__ = ["CacheFetcher", "HttpFetcher"]

MAX_METADATA = 8 * 1024 * 1024  # bytes; python-tuf's own limits per role are smaller


class HttpFetcher(FetcherInterface):
    """Fetches over HTTP; whole answers, so that no error escapes during iteration."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            response = self._http.get(url, limit=MAX_METADATA)
        except McpsError as error:
            raise DownloadError(str(error)) from error
        if response.status != 200:
            raise DownloadHTTPError(f"status {response.status} for {url}", response.status)
        return iter([response.body])


class CacheFetcher(FetcherInterface):
    """Answers as a registry would in which nothing has changed since.

    "No newer root" and the cached timestamp are all that python-tuf needs to verify its
    cache again, from root to targets, without a network. It works until the first expiry.
    """

    def __init__(self, metadata_directory: Path) -> None:
        self._directory = metadata_directory

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = urlsplit(url).path.rpartition("/")[2]
        if name == "timestamp.json":
            try:
                return iter([(self._directory / name).read_bytes()])
            except OSError as error:
                raise DownloadError("nothing is cached") from error
        if name.endswith(".root.json"):
            raise DownloadHTTPError("offline: no newer root is known", 404)
        raise DownloadError(f"offline: {name} is not cached")
