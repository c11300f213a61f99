"""Tokens: a rater's random name, signed, so that a device can resume its session and nobody can guess another's."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

_NAME = re.compile(r"[0-9a-f]{32}")


def random_name() -> str:
    """Return 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def derived_name(request: str, secret: str) -> str:
    """Return the name that belongs to a request, in the form of `random_name`; only who has the secret can tell it."""
    return _signature(f"request {request}", secret)[:32]


def sign(name: str, secret: str) -> str:
    """Return the token of a rater."""
    return f"{name}.{_signature(name, secret)}"


def verify(token: str, secret: str) -> str | None:
    """Return the rater's name of a token, or None if the token was not signed with this secret."""
    name, _, signature = token.partition(".")
    if not _NAME.fullmatch(name) or not hmac.compare_digest(signature.encode(), _signature(name, secret).encode()):
        return None
    return name


def _signature(name: str, secret: str) -> str:
    return hmac.new(bytes.fromhex(secret), name.encode(), hashlib.sha256).hexdigest()
