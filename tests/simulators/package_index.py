"""A package index in memory: PyPI's simple API (PEP 691, 700) and an npm registry, on loopback.

uv and npm ask it as they ask any other; `asked` counts what they wanted.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

UPLOADED = "2026-01-01T00:00:00.000Z"


class PackageIndex:
    """Serves what was added to it; `close` it at the end."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._files: dict[str, bytes] = {}
        self._wheels: dict[str, list[str]] = {}
        self._npm: dict[str, dict[str, Any]] = {}
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index.answer(self)

            def do_HEAD(self) -> None:
                index.answer(self)

            def log_message(self, *_words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.pypi = f"{self.url}/simple/"
        self.npm = f"{self.url}/npm"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nothing any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def add_wheel(self, path: Path) -> None:
        """Offer a wheel, or whatever else lies at `path`, under the name it begins with."""
        name = path.name.partition("-")[0].replace("_", "-").lower()
        self._files[f"files/{path.name}"] = path.read_bytes()
        self._wheels.setdefault(name, []).append(path.name)

    def add_tarball(
        self, name: str, version: str, *, dependencies: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> bytes:  # fmt: skip
        """Offer an npm package; gives its tarball."""
        manifest = {"name": name, "version": version, "dependencies": dict(dependencies or {}),
                    "bin": {name.rpartition("/")[2]: "index.js"}}  # fmt: skip
        contents = {"package.json": json.dumps(manifest).encode(), "index.js": b"",
                    **(files or {})}  # fmt: skip
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for member, data in contents.items():
                info = tarfile.TarInfo(f"package/{member}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        tarball = buffer.getvalue()
        place = f"npm/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
        self._files[place] = tarball
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        packument = self._npm.setdefault(
            name, {"name": name, "dist-tags": {}, "versions": {}, "time": {"created": UPLOADED}}
        )
        packument["dist-tags"]["latest"] = version
        packument["time"][version] = packument["time"]["modified"] = UPLOADED
        packument["versions"][version] = {
            **manifest, "dist": {"tarball": f"{self.url}/{place}", "integrity": integrity},
        }  # fmt: skip
        return tarball

    def replace_tarball(self, name: str, version: str, integrity: str) -> None:
        """Say another hash of a package than it was added with."""
        self._npm[name]["versions"][version]["dist"]["integrity"] = integrity

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        path = unquote(handler.path.lstrip("/")).partition("?")[0]
        self.asked[path] += 1
        kind, body = self._content(path)
        handler.send_response(200 if kind else 404)
        handler.send_header("Content-Type", kind or "text/plain")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def _content(self, path: str) -> tuple[str, bytes]:
        first, _, rest = path.partition("/")
        if path in self._files:
            return "application/octet-stream", self._files[path]
        if first == "simple" and rest.strip("/") in self._wheels:
            return "application/vnd.pypi.simple.v1+json", self._project(rest.strip("/"))
        if first == "npm":
            if rest in self._npm:
                return "application/json", json.dumps(self._npm[rest]).encode()
            name, _, version = rest.rpartition("/")
            found = self._npm.get(name, {}).get("versions", {}).get(version)
            if found is not None:
                return "application/json", json.dumps(found).encode()
        return "", b"not here"

    def _project(self, name: str) -> bytes:
        files = [
            {
                "filename": file, "url": f"{self.url}/files/{file}", "upload-time": UPLOADED,
                "size": len(self._files[f"files/{file}"]),
                "hashes": {"sha256": hashlib.sha256(self._files[f"files/{file}"]).hexdigest()},
            }
            for file in self._wheels[name]
        ]  # fmt: skip
        return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files,
                           "versions": []}).encode()  # fmt: skip
