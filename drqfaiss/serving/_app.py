"""The service: /search, /health, /state, /metrics, a page to try it on, and its OpenAPI description.

A search is read and answered within the limits, by as many threads as the machine has cores; what is refused
is a 4xx, what fails here a 5xx, each with a line that says what was expected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

import faiss

from drqfaiss import _check
from drqfaiss.distributed import Found, MissingShardsError, ShardedIndex
from drqfaiss.serving._bodies import (
    JSON,
    NPY,
    NPZ,
    Answer,
    Asked,
    MalformedError,
    Request,
    as_json,
    as_npz,
    first_error,
    read_json,
    read_npy,
)
from drqfaiss.serving._limits import Limits, TooMuchError
from drqfaiss.serving._metrics import Metrics
from drqfaiss.serving._token import is_token

try:
    from fastapi import Depends, FastAPI, HTTPException, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
    from fastapi_offline import FastAPIOffline
    from pydantic import ValidationError
    from starlette.requests import Request as HTTPRequest
except ImportError as error:
    raise ImportError("drqfaiss.serving needs FastAPI: pip install 'drqfaiss[serve]'") from error

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
RETRY_SECONDS = "1"


def create_app(
    index: ShardedIndex, *, limits: Limits | None = None, token: str | None = None, threads: int = 1
) -> FastAPI:
    """Return an ASGI application that answers searches of an index.

    Args:
        index: what is searched; it stays open when the application ends.
        limits: the most that a request may ask for.
        token: what clients have to show for all but /health, /docs and the page; None: nothing.
        threads: searches at a time, each on one thread.

    Raises:
        ImportError: FastAPI is not installed.
    """
    service = _Service(index, limits or Limits(), threads)
    app = FastAPIOffline(
        title="drqfaiss",
        version=version("drqfaiss"),
        description="Nearest neighbours of vectors.",
        lifespan=service.lifespan,
    )
    guarded = [Depends(_guard(token))] if token is not None else []
    app.middleware("http")(service.counted)
    for kind, status in STATUS.items():
        app.add_exception_handler(kind, _told(status))
    app.add_exception_handler(RequestValidationError, _told(422))
    app.post("/search", dependencies=guarded, response_model=Answer, openapi_extra=_BODY, responses=_ERRORS)(
        service.search
    )
    app.get("/state", dependencies=guarded)(service.state)
    app.get("/metrics", dependencies=guarded, response_class=Response)(service.figures)
    app.get("/health")(service.health)
    app.get("/", response_class=HTMLResponse, include_in_schema=False)(_page)
    return app


# What a client is told for which error; the first that fits.
STATUS: dict[type[Exception], int] = {
    MalformedError: 422,
    TooMuchError: 422,
    MissingShardsError: 503,
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "no token, or a wrong one"},
    413: {"description": "a body that is too large"},
    415: {"description": f"a body that is neither {JSON} nor {NPY}"},
    422: {"description": "a search that cannot be understood, or asks for too much"},
    503: {"description": "shards that do not answer, or too many requests at a time"},
    504: {"description": "no answer in time"},
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": Request.model_json_schema()},
            NPY: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": f"of {NPY}"}
        for name, schema in Asked.model_json_schema()["properties"].items()
    ],
}


_BEARER = HTTPBearer(auto_error=False)


class _Service:
    """An index, and what is known about its use."""

    def __init__(self, index: ShardedIndex, limits: Limits, threads: int) -> None:
        self.index, self.limits, self.metrics = index, limits, Metrics(index)
        self._threads, self._began = threads, time.time()
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Keep threads to search in while the application runs; searches that run are finished."""
        with ThreadPoolExecutor(
            self._threads, initializer=faiss.omp_set_num_threads, initargs=(1,)
        ) as self._pool:
            yield

    async def counted(
        self, request: HTTPRequest, answer: Callable[[HTTPRequest], Awaitable[Response]]
    ) -> Response:
        """Answer, and count it."""
        response = await answer(request)
        path = request.scope.get("route")
        self.metrics.requests.labels(getattr(path, "path", "other"), str(response.status_code)).inc()
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def search(self, request: HTTPRequest) -> Response:
        """Find the nearest neighbours of queries."""
        if self._waiting >= self.limits.waiting:
            raise HTTPException(
                503,
                f"got more than {self.limits.waiting} requests at a time, expected fewer",
                {"Retry-After": RETRY_SECONDS},
            )
        self._waiting += 1
        self.metrics.waiting.inc()
        try:
            with self.metrics.seconds.time():
                return await asyncio.wait_for(self._answer(request), self.limits.seconds)
        except asyncio.TimeoutError:
            raise HTTPException(
                504, f"got no answer in {self.limits.seconds:g} seconds, expected one"
            ) from None
        finally:
            self._waiting -= 1
            self.metrics.waiting.dec()

    async def _answer(self, request: HTTPRequest) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (JSON, NPY):
            raise HTTPException(415, f"content-type: got {kind[:80]!r}, expected {JSON} or {NPY}")
        body = await self._body(request)
        npz = NPZ in request.headers.get("accept", "")
        parameters = dict(request.query_params)
        work = asyncio.get_running_loop().run_in_executor(
            self._pool, self._found, kind, body, parameters, npz
        )
        content, queries, missing = await work
        self.metrics.queries.inc(queries)
        self.metrics.missing.set(missing)
        return Response(content, media_type=NPZ if npz else JSON)

    async def _body(self, request: HTTPRequest) -> bytes:
        """Return the body, and stop to read where it is too large."""
        most = self.limits.body
        too_large = HTTPException(413, f"body: got more, expected at most {most} bytes")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise too_large
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                raise too_large
        return bytes(body)

    def _found(self, kind: str, body: bytes, parameters: dict[str, str], npz: bool) -> tuple[bytes, int, int]:
        """Read, search and write, in a thread; return the answer, the queries and the missing shards."""
        if kind == JSON:
            if parameters:
                raise MalformedError(f"query string: got {[*parameters]}, expected settings in the JSON body")
            queries, asked, chosen = read_json(body)
        else:
            queries, asked, chosen = read_npy(body), _asked(parameters), {}
        self.limits.check(len(queries), asked.k, asked.settings)
        found = self._searched(queries, asked, chosen)
        return (as_npz if npz else as_json)(found), len(queries), len(found.missing)

    def _searched(self, queries: Any, asked: Asked, chosen: dict[str, Any]) -> Found:
        settings: dict[str, Any] = {**asked.settings, **chosen}
        try:
            return self.index.search(queries, asked.k, **settings)
        except (TypeError, ValueError) as error:  # The search was refused.
            raise MalformedError(str(error)) from None

    async def health(self) -> dict[str, str]:
        """Tell whether searches are answered."""
        return {"status": "partial" if self.index.missing else "ok"}

    async def state(self) -> dict[str, Any]:
        """Tell what is served."""
        index = self.index
        return {
            "d": index.d,
            "metric": _check.METRIC_NAMES[index.metric_type],
            "vectors": index.ntotal,
            "shards": index.shards,
            "missing": index.missing,
            "limits": vars(self.limits),
            "versions": {
                "drqfaiss": version("drqfaiss"),
                "numpy": version("numpy"),
                "faiss": faiss.__version__,
            },
            "seconds": round(time.time() - self._began, 1),
        }

    async def figures(self) -> Response:
        """Tell Prometheus's figures."""
        return Response(self.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _asked(parameters: dict[str, str]) -> Asked:
    try:
        return Asked.model_validate(parameters)
    except ValidationError as error:
        raise MalformedError(first_error(error)) from None


def _guard(token: str) -> Callable[..., None]:
    """Return what requires the token of a request."""

    def require(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        if given is None or not is_token(given.credentials, token):
            raise HTTPException(
                401, "authorization: expected the token of this service", {"WWW-Authenticate": "Bearer"}
            )

    return require


def _told(status: int) -> Callable[[HTTPRequest, Exception], Awaitable[Response]]:
    """Return what tells an error to a client."""

    async def tell(request: HTTPRequest, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, status)

    return tell


async def _page() -> HTMLResponse:
    """Return the page to try searches on."""
    text = files("drqfaiss.serving").joinpath("page.html").read_text()
    return HTMLResponse(text, headers={"Content-Security-Policy": PAGE_POLICY})
