"""What all handlers of the page share: how they answer, and how a visitor's mistake and a full disk are told."""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import gradio as gr

from demo import theme
from medfe.errors import MedfeError

Updates: TypeAlias = dict[Any, Any]
"""Component → its new value; components left out stay as they are."""

PRIVATE: Mapping[str, Any] = {"api_visibility": "private", "queue": True}
"""Settings of every event: none is offered to programs."""
QUICK: Mapping[str, Any] = {**PRIVATE, "show_progress": "hidden"}
"""The same for what is done at once."""


_log = logging.getLogger(__name__)
_NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, None)  # Pillow's errors have no number


class HasStatus(Protocol):
    """A part of the page with a status line."""

    status: gr.HTML


def told(handler: Callable[..., Updates]) -> Callable[..., Updates]:
    """Show a visitor's mistake, or a full disk, in the status line; nothing else on the page changes then."""

    @functools.wraps(handler)
    def wrapped(self: HasStatus, *arguments: Any) -> Updates:
        try:
            return handler(self, *arguments)
        except MedfeError as error:
            return {self.status: theme.status(sentence(str(error)), error=True)}
        except FileNotFoundError:  # files of a run are kept for a while only
            text = "The pictures of this run have been cleared away: fill the hole again."
            return {self.status: theme.status(text, error=True)}
        except OSError as error:
            if error.errno not in _NOT_WRITTEN:
                raise
            _log.error("%s: %s", handler.__qualname__, error)
            text = "The server's disk is full or cannot be written: please tell whoever runs it."
            return {self.status: theme.status(text, error=True)}

    return wrapped


def sentence(text: str) -> str:
    """Return an error's text with a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
