"""The application: one Starlette app over one `Desk`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcps_registry.api.sigstore import error_response
from mcps_registry.api.static_files import StaticFiles
from mcps_registry.desk import Desk, role_bodies
from mcps_registry.sigstore.authority import utc_now
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.fields import FieldError, Fields
from mcps_trust.model.submission import MAX_TOTAL, BadSubmissionError, unpack

__all__ = ["RESIGN_EVERY", "make_application"]

_LOG = logging.getLogger(__name__)
RESIGN_EVERY = 15 * 60.0  # seconds
_JSON_LIMIT = 32 * 1024 * 1024  # bytes
_SUBMISSION_SECONDS = 120.0
_SPOOL = 8 * 1024 * 1024  # bytes kept in memory


def make_application(
    desk: Desk, sigstore: list[Route], *, resign_every: float = RESIGN_EVERY
) -> Starlette:
    """The whole HTTP interface of a registry.

    Args:
        desk: the open registry.
        sigstore: routes of the embedded instance, or none.
        resign_every: seconds between new timestamps.
    """
    answers, static = _Answers(desk), StaticFiles(desk.folder.public)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        """Sign the timestamp again while the application runs."""
        task = asyncio.create_task(_resign(desk, resign_every))
        yield
        task.cancel()

    return Starlette(
        lifespan=lifespan,
        exception_handlers={McpsError: _on_error, TimeoutError: _on_timeout},
        routes=[
            Route("/api/v1/health", answers.health),
            Route("/api/v1/submissions", answers.submit, methods=["POST"]),
            Route("/api/v1/submissions", answers.submissions),
            Route("/api/v1/submissions/{id:path}", answers.submission),
            Route("/api/v1/approvals", answers.approve, methods=["POST"]),
            Route("/api/v1/roles", answers.roles, methods=["POST"]),
            *sigstore,
            Route("/{path:path}", static.serve, methods=["GET", "HEAD"]),
        ],
    )


class _Answers:
    """What the interface answers, from one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._uploads = asyncio.Semaphore(4)

    async def health(self, _request: Request) -> Response:
        configuration = self._desk.configuration
        return JSONResponse({"status": "ok", "name": configuration.name,
                             "development": configuration.development})  # fmt: skip

    async def submit(self, request: Request) -> Response:
        async with self._uploads, asyncio.timeout(_SUBMISSION_SECONDS):
            with tempfile.SpooledTemporaryFile(_SPOOL) as file:
                await _receive(request, file, MAX_TOTAL)
                file.seek(0)
                submission = await run_in_threadpool(unpack, cast("BinaryIO", file))
            item = await run_in_threadpool(self._desk.submit, submission, utc_now())
        return JSONResponse(item, status_code=201)

    async def submissions(self, _request: Request) -> Response:
        return JSONResponse({"submissions": await run_in_threadpool(self._desk.submissions)})

    async def submission(self, request: Request) -> Response:
        found = await run_in_threadpool(self._desk.submission, request.path_params["id"])
        return JSONResponse(found)

    async def approve(self, request: Request) -> Response:
        fields = Fields(await _json(request), "request")
        entry, envelope = fields.text("entry", longest=2**21), fields.mapping("envelope")
        fields.done()
        state = await run_in_threadpool(self._desk.approve, entry.encode(), envelope, utc_now())
        return JSONResponse(state.to_dict(), status_code=201)

    async def roles(self, request: Request) -> Response:
        try:
            bodies = role_bodies(await _json(request))
        except ValueError as error:
            raise FieldError("the request is not base64", found=str(error)) from error
        await run_in_threadpool(self._desk.accept_roles, *bodies, utc_now())
        return JSONResponse({"accepted": sorted(bodies[0])}, status_code=201)


async def _on_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, McpsError):
        raise error
    return error_response(error)


async def _on_timeout(_request: Request, _error: Exception) -> Response:
    limit = f"{_SUBMISSION_SECONDS:g} s"
    return error_response(BadSubmissionError("the submission took too long", expected=limit))


async def _resign(desk: Desk, every: float) -> None:
    """Sign the timestamp again and again, for as long as the application runs."""
    while True:
        await asyncio.sleep(every)
        try:
            await run_in_threadpool(desk.repository.refresh, utc_now())
        except (McpsError, OSError):
            _LOG.exception("the timestamp could not be signed again; trying later")


async def _receive(request: Request, file: Any, limit: int) -> None:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BadSubmissionError("the submission is too large", expected=f"{limit} bytes")
        file.write(chunk)


async def _json(request: Request) -> Any:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _JSON_LIMIT:
            raise BadSubmissionError("the request is too large", expected=f"{_JSON_LIMIT} bytes")
    return await run_in_threadpool(strict_json.loads, bytes(data), limit=_JSON_LIMIT)
