"""The page on which people compare pictures, blind, and the server behind it (`python -m demo --study STUDY`).

The page is written by hand, so that every byte that leaves this server is known; see `demo.label_answers`.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.guard import Guard, is_loopback
from demo.label_answers import Body, CorrectionBody, JoinBody, LabelServer, PracticeBody, VoteBody
from demo.turnstile import Turnstile
from medfe.errors import MedfeError
from medfe.preference.database import database_url, disk_is_full, reason
from medfe.preference.folder import load_study
from medfe.preference.records import RefusedError, Why
from medfe.preference.store import VoteStore

PAGE = {
    "": ("index.html", "text/html"),
    "label.css": ("label.css", "text/css"),
    **{name: (name, "text/javascript") for name in ("label.js", "pictures.js", "server.js")},
}
_STATUS: dict[Why, int] = {
    "token": 401, "withdrawn": 403, "complete": 403, "trial": 404, "answered": 409, "not shown": 409, "consent": 409,
    "expired": 410, "full": 503,
}  # fmt: skip
_LARGEST_BODY = 4096  # bytes; an answer takes 250
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_log = logging.getLogger(__name__)


def build_app(
    server: LabelServer, *, local: bool, public_name: str = "", turnstile: Turnstile | None = None
) -> Starlette:
    """Return the application.

    Args:
        server: What answers.
        local: The server listens on this machine only, so that any other host name is a disguise.
        public_name: See `Guard`.
        turnstile: How many may join from one address; default: `Turnstile`'s own numbers.
    """
    routes = [_page(f"/{path}", *file) for path, file in PAGE.items()]
    routes += [
        _api("/api/study", "GET", server.describe),
        _api("/api/join", "POST", server.join, JoinBody, turnstile or Turnstile()),
        _api("/api/progress", "GET", server.progress),
        _api("/api/practice/{number}", "GET", server.practice),
        _api("/api/practice/{number}", "POST", server.answer_practice, PracticeBody),
        _api("/api/next", "GET", server.next_trial),
        _api("/api/last", "GET", server.last_trial),
        _api("/api/vote", "POST", server.vote, VoteBody),
        _api("/api/correct", "POST", server.correct, CorrectionBody),
        _api("/api/withdraw", "POST", server.withdraw),
    ]
    middleware = [Middleware(_OwnHeaders), Middleware(Guard, max_body=1_000_000, local=local, public_name=public_name)]
    return Starlette(routes=routes, middleware=middleware)


def serve_study(folder: Path, host: str, port: int, database: str | None = None, public_name: str = "") -> None:
    """Check a study and serve its page until the process is ended.

    Args:
        folder: Of the study.
        host: Address to listen on.
        port: Port to listen on.
        database: URL of the votes' database; default: SQLite in the folder.
        public_name: See `Guard`.

    Raises:
        MedfeError: a damaged study, a database that is another's or cannot be reached, or a port that is taken.
    """
    study = load_study(folder, verify=True)
    store = VoteStore.open(database_url(folder, database), study)
    app = build_app(LabelServer(folder, study, store), local=is_loopback(host), public_name=public_name)
    # No access log: it would hold network addresses.
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", access_log=False, server_header=False, lifespan="off"
    )
    try:
        with _bound(host, port) as listening:
            _Listener(config, store).run(sockets=[listening])
    finally:
        store.close()


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; the server itself would end the process if it could not bind."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise MedfeError(f"{host}:{port}: cannot listen there ({error.strerror or error})") from None
    return listening


class _Listener(uvicorn.Server):
    """A server that says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, store: VoteStore) -> None:
        super().__init__(config)
        self._store = store

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            design = self._store.study.design
            print(f"study: {self._store.main_votes()} of {design.target_votes} answers", flush=True)
            print(f"MEDFE study: http://{host}:{self.config.port}/  (Ctrl+C ends it)", flush=True)


class _OwnHeaders:
    """ASGI middleware: headers of every reply, stricter than those of `Guard`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


def _page(path: str, name: str, media_type: str) -> Route:
    content = resources.files("demo").joinpath("label_page", name).read_bytes()

    async def page(_request: Request) -> Response:
        return Response(content, media_type=media_type)

    return Route(path, page)


def _api(
    path: str, method: str, answer: Callable[..., dict[str, Any]], body: type[Body] | None = None,
    turnstile: Turnstile | None = None,
) -> Route:  # fmt: skip
    async def endpoint(request: Request) -> Response:
        try:
            parsed = None if body is None else body.model_validate_json(await _read(request))
        except ValidationError:  # its message would repeat what was sent
            return _error(422, "The request is not understood.")
        address = request.client.host if request.client else ""
        if turnstile is not None and not turnstile.admits(address):
            return _error(429, "Many people are joining from your network. Please try again in a minute.", "crowded")
        _, _, token = request.headers.get("authorization", "").partition("Bearer ")
        call = partial(answer, token, parsed, **request.path_params)
        answered = await _answered(lambda: run_in_threadpool(call))
        if turnstile is not None and answered.status_code != 200:
            turnstile.give_back(address)
        return answered

    return Route(path, endpoint, methods=[method])


async def _answered(call: Callable[[], Awaitable[dict[str, Any]]]) -> Response:
    try:
        return JSONResponse(await call())
    except RefusedError as refused:
        return _error(_STATUS[refused.why], str(refused), refused.why)
    except DBAPIError as error:
        _log.error("the database failed: %s", reason(error))
        full = disk_is_full(error)
        why = "The study's disk is full" if full else "The study's database does not answer"
        return _error(507 if full else 503, f"Not saved. {why}; please try again later.", "database")
    except PoolTimeoutError:  # every connection is in use
        return _error(503, "Not saved. The study's database is busy; please try again.", "database")
    except MedfeError as error:
        _log.error("%s", error)
        return _error(500, "The study has a fault; please tell whoever invited you.", "fault")


async def _read(request: Request) -> bytes:
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _LARGEST_BODY:
            return b""  # no JSON
    return content


def _error(status: int, message: str, why: str = "request") -> Response:
    return JSONResponse({"error": message, "why": why}, status)
