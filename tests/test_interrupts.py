"""Ctrl-C while processes are started is neither lost nor theirs."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from medfe.interrupts import deferred_interrupt

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no signal masks")


def interrupted(times, seconds):
    """Interrupt this process within the context; return what was reached."""
    reached = []
    try:
        with deferred_interrupt():
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(seconds)
            reached.append("the end of the context")
        reached.append("what comes after it")
    except KeyboardInterrupt:
        reached.append("the interrupt")
    return reached


def test_an_interrupt_meanwhile_arrives_at_the_end_and_once():
    assert interrupted(2, 0.01) == ["the end of the context", "the interrupt"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_an_interrupt_that_another_thread_takes_is_held_back_too():
    done = threading.Event()
    helper = threading.Thread(target=done.wait)  # started with the signal open
    helper.start()
    try:
        assert interrupted(1, 0.05) == ["the end of the context", "the interrupt"]
    finally:
        done.set()
        helper.join()


def test_without_an_interrupt_nothing_happens():
    assert interrupted(0, 0) == ["the end of the context", "what comes after it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_started_meanwhile_outlives_it():
    code = "import time; print('ready', flush=True); time.sleep(0.3); print('done')"
    with deferred_interrupt():
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "done\n"
    assert process.returncode == 0


def test_in_another_thread_signals_are_left_alone():
    errors = []

    def run():
        try:
            with deferred_interrupt():
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == []
