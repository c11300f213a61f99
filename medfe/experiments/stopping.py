"""When to stop: on a signal, after a time, or when the process that started this one is gone."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The work was stopped before it was complete; the same command goes on. No `except Exception` swallows it."""


class Stop:
    """A request to stop.

    Used as a context manager. While it is active, the first SIGTERM or Ctrl-C raises `Interrupted`, wherever the main
    thread is, and later ones are ignored; trainings put their own handlers in place meanwhile and end cleanly after a
    step. The deadline arrives as a SIGTERM to this very process, so that there is one way to stop.

    Args:
        max_minutes: Stop after so many minutes.
        with_parent: Stop when standard input ends. The parent holds the other end of that pipe: however it dies, this
            process does not outlive it.
    """

    def __init__(self, max_minutes: float | None = None, *, with_parent: bool = False) -> None:
        self.deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self.with_parent = with_parent
        self.asked = False
        self._raised = False
        self._previous: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._interrupt)
        try:
            if self.deadline is not None:
                self._timer = threading.Timer(max(0.0, self.deadline - time.monotonic()), self._ask)
                self._timer.daemon = True
                self._timer.start()
            if self.with_parent:
                threading.Thread(target=self._watch_parent, daemon=True).start()
        except Interrupted:  # the context was not entered, so nobody leaves it
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise `Interrupted` if a stop was asked for."""
        if self.asked or (self.deadline is not None and time.monotonic() >= self.deadline):
            raise Interrupted

    def minutes_left(self) -> float | None:
        """Return the minutes until the deadline, if there is one."""
        return None if self.deadline is None else max(0.0, (self.deadline - time.monotonic()) / 60)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.asked = True
        if not self._raised:
            self._raised = True
            raise Interrupted

    def _ask(self) -> None:
        self.asked = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _watch_parent(self) -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock a forked data loader would wait for
            pass
        self._ask()
