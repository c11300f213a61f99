"""Ctrl-C while other processes are being started."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Hold back SIGINT: it arrives at the end of the context, and never in processes that are started meanwhile.

    Outside of the main thread, where signals neither are set nor arrive, it does nothing. Windows has no signal masks:
    there, processes that are started get the signal too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    requests: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: requests.append(number))
    # A mask, unlike a handler, is inherited by a new program. This process's other threads may still take the signal.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if requests:
            signal.raise_signal(signal.SIGINT)
