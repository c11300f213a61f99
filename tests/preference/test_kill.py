"""The server is killed at random moments while people vote: what it called saved is in the database once."""

import contextlib
import http.client
import json
import multiprocessing
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sqlalchemy import select

from demo.__main__ import main
from medfe.preference import queries, tokens
from medfe.preference.store import VoteStore
from medfe.preference.tables import trials, votes

from ..ports import free_port

CLIENTS = 20
PATIENCE = 120  # seconds without an answer


class Server:
    """`python -m demo --study`, killed with SIGKILL and started again until it is to stay.

    Its processes are forked from one that has loaded the modules: each kill would else cost seconds of imports.
    """

    def __init__(self, folder, database, port):
        database = database.render_as_string(hide_password=False)
        self.arguments = ["--study", str(folder), "--port", str(port), "--database", database]
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["demo.__main__", "demo.label"])
        self.kills = 0

    def start(self):
        self.process = self.context.Process(target=main, args=(self.arguments,))
        self.process.start()

    def kill(self):
        assert self.process.is_alive()
        self.process.kill()
        self.process.join()
        self.process.close()
        self.kills += 1


class Client:
    """A rater's browser: tries again until it has an answer, with the same request."""

    def __init__(self, port, saved):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.saved, self.headers = saved, {}

    def ask(self, path, body=None):
        method, content = ("GET", None) if body is None else ("POST", json.dumps(body))
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.connection.request(method, f"/api/{path}", content, self.headers)
                answer = self.connection.getresponse()
                reply = json.loads(answer.read())
                assert answer.status == 200, reply
                return reply
            self.connection.close()
            time.sleep(0.02)
        raise AssertionError("the server did not come back")

    def session(self):
        self.headers["Authorization"] = f"Bearer {self.ask('join', {'consent_version': '1'})['token']}"
        while not (trial := self.ask("next")).get("finished"):
            choice = random.choice(["left", "tie", "right"])
            body = {
                "trial": trial["trial"], "request": tokens.random_name(), "choice": choice, "milliseconds": 500,
                "width": 800, "height": 600, "pixel_ratio": 1, "zoomed": False,
            }  # fmt: skip
            assert self.ask("vote", body)["saved"]
            self.saved.append((body["trial"], body["request"], choice))
        self.connection.close()


def vote_while_killing(make_study, database, trials_each, kills):
    folder, study = make_study(items=6 * trials_each // 5, trials=trials_each, target_votes=10**6)
    VoteStore.create(database, study).close()
    server, saved, done = Server(folder, database, port := free_port()), [], threading.Event()

    def disturb():
        for number in range(kills):
            # Not before some more votes are in, so that every life of the server sees some.
            while len(saved) < (number + 1) * CLIENTS * trials_each // (kills + 2) and not done.is_set():
                time.sleep(0.01)
            if done.wait(random.uniform(0, 0.3)):
                return
            server.kill()
            server.start()

    server.start()
    try:
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            killer = pool.submit(disturb)
            sessions = [pool.submit(Client(port, saved).session) for _ in range(CLIENTS)]
            try:
                for session in sessions:
                    session.result()
            finally:
                done.set()
            killer.result()
    finally:
        server.kill()
    return study, saved, server.kills - 1


def check(database, study, saved, trials_each):
    store = VoteStore.open(database, study)
    with store.engine.connect() as connection:
        rows = connection.execute(select(trials.c.name, votes.c.request, votes.c.choice).join(votes)).all()
        history = queries.history(connection, study, store.clock())
    store.close()
    assert len(saved) == CLIENTS * trials_each
    assert sorted(map(tuple, rows)) == sorted(saved)
    assert len({row.name for row in rows}) == len(rows)
    counts = history.counts.sum(axis=2)
    assert np.ptp(counts) <= 1
    assert np.abs(history.counts[..., 0] - history.counts[..., 1]).max() <= 1


def test_200_votes_survive_a_server_that_is_killed(make_study, new_database):
    database = new_database()
    study, saved, kills = vote_while_killing(make_study, database, trials_each=10, kills=3)
    assert kills == 3
    check(database, study, saved, 10)


@pytest.mark.slow
def test_2000_votes_survive_a_server_that_is_killed(make_study, new_database):
    database = new_database()
    study, saved, kills = vote_while_killing(make_study, database, trials_each=100, kills=10)
    assert kills == 10
    check(database, study, saved, 100)
