"""Ctrl-C while other processes are being started."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ignored_interrupt() -> Iterator[None]:
    """Ignore SIGINT for a while; processes started meanwhile ignore it too, and leave the request to their parent."""
    if threading.current_thread() is not threading.main_thread():  # signals cannot be set, and do not arrive
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
