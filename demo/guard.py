"""What the app refuses before any of its code sees a request: foreign pages, other host names, oversized bodies.

A server on 127.0.0.1 is out of reach of other machines, but not of other pages in the same browser: a page from
anywhere may send requests to it, and, by giving its own name the address 127.0.0.1 ("DNS rebinding"), even read the
answers. The browser tells where a request comes from (`Origin`, `Sec-Fetch-Site`) and which name it asked for (`Host`);
both are checked here.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Pages of Gradio contain inline scripts and styles; its canvas compiles functions (eval) and holds pictures as
# blobs and data. All else is forbidden, above all what lies on another server.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
}
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, out of reach of others."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """ASGI middleware: answers 403 to foreign pages, 421 to foreign names, 413 to oversized bodies.

    Args:
        app: the application behind it.
        max_body: largest body of a request, bytes.
        local: the server listens on this machine only, so that any other host name is a disguise.
        public_name: host name under which a proxy on this machine makes the server public; no disguise then.
    """

    def __init__(self, app: ASGIApp, max_body: int, local: bool, public_name: str = "") -> None:
        self.app = app
        self.max_body = max_body
        self.local = local
        self.public_name = public_name.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that is acceptable, and answer any other."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope), scope.get("scheme", "http"))
        if refusal is None:
            await self._pass_on(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, headers: Headers, scheme: str) -> PlainTextResponse | None:
        host = headers.get("host", "")
        own = _place(f"{scheme}://{host}")
        if self.local and (own is None or not (is_loopback(own[0]) or own[0] == self.public_name)):
            return PlainTextResponse("This server answers to its own address only.", 421)
        origin = headers.get("origin")
        # Behind a proxy that ends TLS the schemes differ: a missing port is that of the origin's scheme on both sides.
        foreign = False
        if origin is not None:
            place = _place(origin)
            # A proxy need not pass the name on that it was asked for.
            public = place is not None and place[0] == self.public_name and place[1] in _DEFAULT_PORTS.values()
            foreign = not public and (place is None or place != _place(f"{origin.partition(':')[0]}://{host}"))
        cross_site = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        if foreign or cross_site:
            return PlainTextResponse("Requests from other pages are refused.", 403)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_body:
            return self._too_large()
        return None

    def _too_large(self) -> PlainTextResponse:
        return PlainTextResponse(f"The request is larger than {self.max_body // 1_000_000} MB.", 413)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        received, started, refused = 0, False, False

        async def counted() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body:
                refused = True
                if not started:
                    await self._too_large()(scope, receive, send)
                raise ConnectionAbortedError("the body is too large")
            return message

        async def with_headers(message: Message) -> None:
            nonlocal started
            if refused:  # what the application says about its broken request comes too late
                return
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            await self.app(scope, counted, with_headers)
        except ClientDisconnect:  # the visitor left: nobody to tell, nothing to report
            pass
        except Exception:  # ours may arrive wrapped
            if not refused:
                raise


def _place(url: str) -> tuple[str, int] | None:
    """Return (host name, port) of a web address, or None if it is none, such as the origin `null`."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None
