"""What goes into the store of votes, what comes out of it, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Choice = Literal["left", "tie", "right"]
Why = Literal["token", "trial", "expired", "withdrawn", "answered", "not shown", "consent", "complete", "full"]


class RefusedError(Exception):
    """A request that must not change anything.

    Attributes:
        why: Kind of reason.
    """

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True)
class Session:
    """How far a rater is."""

    answered: int
    total: int
    expired: bool


@dataclass(frozen=True)
class Participation:
    """How many people agreed to take part.

    Attributes:
        joined: All of them.
        silent: Those who answered nothing and did not withdraw.
        withdrawn: Those who withdrew.
        going_on: Those who may still answer: what the votes say can change.
    """

    joined: int
    silent: int
    withdrawn: int
    going_on: int = 0


@dataclass(frozen=True)
class Trial:
    """A trial as it is shown; `left` and `right` are places of methods, or 0 and 1 of a catch trial."""

    name: str
    position: int
    kind: str
    item: int
    left: int
    right: int


@dataclass(frozen=True)
class Answer:
    """A rater's answer, as the page reports it.

    Attributes:
        request: Random name of the request, 32 hexadecimal digits; sent again, it is a retry.
        choice: What was chosen.
        milliseconds: From both pictures on the screen to the answer.
        viewport: Width and height of the browser's window, CSS pixels.
        pixel_ratio: Device pixels a CSS pixel.
        zoomed: Whether the pictures were enlarged.
    """

    request: str
    choice: Choice
    milliseconds: int
    viewport: tuple[int, int]
    pixel_ratio: float = 1.0
    zoomed: bool = False
