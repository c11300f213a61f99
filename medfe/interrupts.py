"""How other processes end: Ctrl-C while they are being started, and the death of the one that started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """Let this process end when the one that started it is gone, however that died, even in the middle of its work.

    A pool's process would wait for work for ever. What it writes must be written whole or not at all.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


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
