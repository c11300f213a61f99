"""The page on which people compare pictures, blind, and the server behind it (`python -m demo --study STUDY`).

Before an answer nothing tells the methods apart: both pictures come in one reply, as files of equal length without
metadata, under random names, and a trial is called by a random number. The page is written by hand, so that every byte
that leaves this server is known.
"""

from __future__ import annotations

import base64
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.guard import Guard, is_loopback
from medfe.errors import MedfeError
from medfe.preference.database import database_url, reason
from medfe.preference.definition import Item, Study
from medfe.preference.folder import load_study, read_picture
from medfe.preference.store import Answer, RefusedError, Session, Trial, VoteStore, Why

PAGE = {
    "": ("index.html", "text/html"),
    "label.css": ("label.css", "text/css"),
    "label.js": ("label.js", "text/javascript"),
}
_STATUS: dict[Why, int] = {
    "token": 401, "withdrawn": 403, "complete": 403, "trial": 404, "answered": 409, "not shown": 409, "consent": 409,
    "expired": 410,
}  # fmt: skip
_LARGEST_BODY = 4096  # bytes; an answer takes 250
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_log = logging.getLogger(__name__)

RandomName = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
ChoiceName = Literal["left", "tie", "right"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class JoinBody(_Body):
    """Consent of a new rater."""

    consent_version: Annotated[str, Field(max_length=40)]


class PracticeBody(_Body):
    """Answer to a practice trial; it is not stored."""

    choice: ChoiceName


class CorrectionBody(_Body):
    """Another answer to the last trial."""

    trial: RandomName
    request: RandomName
    choice: ChoiceName


class VoteBody(CorrectionBody):
    """Answer to a trial."""

    milliseconds: Annotated[int, Field(ge=0, lt=2**31)]
    width: Annotated[int, Field(ge=1, lt=100_000)]
    height: Annotated[int, Field(ge=1, lt=100_000)]
    pixel_ratio: Annotated[float, Field(gt=0, lt=100, strict=False)]
    zoomed: bool


@dataclass(frozen=True)
class LabelServer:
    """Answers of the server; every method takes a request's token and body, and returns what is sent.

    Attributes:
        folder: Of the study.
        study: Definition.
        store: Votes.
    """

    folder: Path
    study: Study
    store: VoteStore

    def describe(self, _token: str, _body: None) -> dict[str, Any]:
        """Return what everyone may read."""
        design, question = self.study.design, self.study.question
        return {
            "title": design.title, "question": question.text, "answers": list(question.answers),
            "shows_original": question.shows_original, "instructions": design.instructions, "consent": design.consent,
            "consent_version": design.consent_version, "trials": design.trials, "practice": design.practice,
            "size": self.study.image_size,
        }  # fmt: skip

    def join(self, _token: str, body: JoinBody) -> dict[str, Any]:
        """Let a new rater in."""
        return {"token": self.store.join(body.consent_version)}

    def progress(self, token: str, _body: None) -> dict[str, Any]:
        """Tell how far a rater is."""
        return _progress(self.store.session(token))

    def practice(self, token: str, _body: None, number: int) -> dict[str, Any]:
        """Return the pictures of a practice trial."""
        self.store.session(token)
        item, photograph_left = self._practice(token, number)
        pair = (item.original, item.fills[0])
        return self._pictures(item, *(pair if photograph_left else pair[::-1]))

    def answer_practice(self, token: str, body: PracticeBody, number: int) -> dict[str, Any]:
        """Tell which of a practice trial was the photograph."""
        self.store.session(token)
        _, photograph_left = self._practice(token, number)
        side = "left" if photograph_left else "right"
        return {"photograph": side, "correct": body.choice == side}

    def next_trial(self, token: str, _body: None) -> dict[str, Any]:
        """Return the next trial, or that there is none."""
        trial = self.store.next_trial(token)
        return {"finished": True} if trial is None else self._trial(trial)

    def last_trial(self, token: str, _body: None) -> dict[str, Any]:
        """Return the trial that may be corrected."""
        trial = self.store.last_trial(token)
        if trial is None:
            raise RefusedError("not shown", "There is no answer to change yet.")
        return self._trial(trial)

    def vote(self, token: str, body: VoteBody) -> dict[str, Any]:
        """Keep an answer; what returns says that it has been committed."""
        answer = Answer(
            body.request, body.choice, body.milliseconds, (body.width, body.height), body.pixel_ratio, body.zoomed
        )
        return {"saved": True, **_progress(self.store.vote(token, body.trial, answer))}

    def correct(self, token: str, body: CorrectionBody) -> dict[str, Any]:
        """Keep a correction; what returns says that it has been committed."""
        session = self.store.correct(token, body.trial, body.request, body.choice)
        return {"saved": True, **_progress(session)}

    def withdraw(self, token: str, _body: None) -> dict[str, Any]:
        """Delete a rater's answers."""
        self.store.withdraw(token)
        return {"withdrawn": True}

    def _practice(self, token: str, number: int) -> tuple[Item, bool]:
        if not 0 <= number < self.study.design.practice:
            raise RefusedError("trial", "There is no such practice trial.")
        return self.study.practice[number], int(token[number % 32], 16) % 2 == 0  # digits of a random name

    def _trial(self, trial: Trial) -> dict[str, Any]:
        if trial.kind == "catch":
            item = self.study.catches[trial.item]
            choices: tuple[str, ...] = (item.original, item.fills[0])
        else:
            item = self.study.items[trial.item]
            choices = item.fills
        head = {"trial": trial.name, "position": trial.position, "total": self.study.design.trials}
        return {**head, **self._pictures(item, choices[trial.left], choices[trial.right])}

    def _pictures(self, item: Item, left: str, right: str) -> dict[str, Any]:
        digests = {"left": left, "right": right}
        if self.study.question.shows_original:
            digests["original"] = item.original
        return {name: _data(read_picture(self.folder, digest)) for name, digest in digests.items()}


def build_app(server: LabelServer, *, local: bool) -> Starlette:
    """Return the application.

    Args:
        server: What answers.
        local: The server listens on this machine only, so that any other host name is a disguise.
    """
    routes = [_page(f"/{path}", *file) for path, file in PAGE.items()]
    routes += [
        _api("/api/study", "GET", server.describe),
        _api("/api/join", "POST", server.join, JoinBody),
        _api("/api/progress", "GET", server.progress),
        _api("/api/practice/{number:int}", "GET", server.practice),
        _api("/api/practice/{number:int}", "POST", server.answer_practice, PracticeBody),
        _api("/api/next", "GET", server.next_trial),
        _api("/api/last", "GET", server.last_trial),
        _api("/api/vote", "POST", server.vote, VoteBody),
        _api("/api/correct", "POST", server.correct, CorrectionBody),
        _api("/api/withdraw", "POST", server.withdraw),
    ]
    middleware = [Middleware(_OwnHeaders), Middleware(Guard, max_body=1_000_000, local=local)]
    return Starlette(routes=routes, middleware=middleware)


def serve_study(folder: Path, host: str, port: int, database: str | None = None) -> None:
    """Check a study and serve its page until the process is ended.

    Args:
        folder: Of the study.
        host: Address to listen on.
        port: Port to listen on.
        database: URL of the votes' database; default: SQLite in the folder.

    Raises:
        MedfeError: a damaged study, a database that is another's or cannot be reached, or a port that is taken.
    """
    study = load_study(folder, verify=True)
    store = VoteStore.open(database_url(folder, database), study)
    app = build_app(LabelServer(folder, study, store), local=is_loopback(host))
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


def _api(path: str, method: str, answer: Callable[..., dict[str, Any]], body: type[_Body] | None = None) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            parsed = None if body is None else body.model_validate_json(await _read(request))
        except ValidationError:  # its message would repeat what was sent
            return _error(422, "The request is not understood.")
        _, _, token = request.headers.get("authorization", "").partition("Bearer ")
        call = partial(answer, token, parsed, **request.path_params)
        return await _answered(lambda: run_in_threadpool(call))

    return Route(path, endpoint, methods=[method])


async def _answered(call: Callable[[], Awaitable[dict[str, Any]]]) -> Response:
    try:
        return JSONResponse(await call())
    except RefusedError as refused:
        return _error(_STATUS[refused.why], str(refused), refused.why)
    except DBAPIError as error:
        _log.error("the database failed: %s", reason(error))
        full = "full" in reason(error)
        why = "The study's disk is full" if full else "The study's database does not answer"
        return _error(507 if full else 503, f"Not saved. {why}; please try again later.", "database")
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


def _progress(session: Session) -> dict[str, Any]:
    return {"answered": session.answered, "total": session.total, "expired": session.expired}


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
