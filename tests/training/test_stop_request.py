"""A request to stop that arrives during a training is not lost on what the training is part of."""

import os
import signal

import pytest

from medfe.experiments.stopping import Interrupted, Stop
from medfe.training.loop import StopRequest


def test_an_experiment_hears_of_a_request_that_came_in_the_last_step_of_a_training():
    steps = []

    def train():
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append(bool(stop))  # the step is done, and what it made is saved

    with Stop() as outer:
        with pytest.raises(Interrupted):
            train()
        assert outer.asked
    assert steps == [True]


def test_a_training_alone_ends_quietly():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
    assert signal.getsignal(signal.SIGTERM) is before
