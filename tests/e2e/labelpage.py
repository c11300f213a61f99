"""The page of a study as a rater uses it, and the server behind it."""

import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import sqlite3
import subprocess
import sys

import pandas as pd

from medfe import cli

from ..ports import free_port

PATIENCE = 120_000  # milliseconds, on a loaded machine


class Server:
    """`python -m demo --study`."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.command = [sys.executable, "-m", "demo", "--study", str(folder), "--port", str(self.port)]
        self.start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True, env=os.environ)
        assert any("http://" in line for line in iter(self.process.stdout.readline, "")), self.process.wait()

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(30)
        self.process.stdout.close()

    def query(self, statement):
        with contextlib.closing(sqlite3.connect(self.folder / "votes.sqlite")) as database, database:
            return database.execute(statement).fetchall()

    @property
    def raters(self):
        """Number of raters who have joined."""
        return self.query("SELECT COUNT(*) FROM raters")[0][0]

    def votes(self):
        """Return the votes of the last rater who joined."""
        cli.main(["study", "export", str(self.folder), "--peek"])
        votes = pd.read_parquet(self.folder / "export" / "votes.parquet")
        return votes[votes["rater"] == self.raters]


class Page:
    """What a rater does; waits where a person would."""

    def __init__(self, page):
        self.page = page
        page.set_default_timeout(PATIENCE)

    def ready(self, what):
        self.page.wait_for_selector(f"body[data-ready='{what}']")
        self.page.wait_for_timeout(270)  # a press within a quarter of a second is a slip of the finger

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def practise(self):
        for number in range(2):
            self.ready(f"practice {number}")
            self.press("1")
            self.page.wait_for_selector("#proceed:visible")
            assert re.match("(Yes|No): the photograph is on the (left|right).", self.page.inner_text("#status"))
            self.press("Enter")

    def seen(self, name):
        return self.page.get_attribute(f"#{name} img", "src")


class Network:
    """The way to the server, which a test holds up or breaks."""

    def __init__(self, page):
        self.page, self.held = page, []

    def break_once(self, path):
        self.page.route(f"**/api/{path}", lambda route: route.abort(), times=1)

    def lose_reply(self, path):
        """Let the next request through, and break the way back."""

        def send_and_break(route):
            assert route.fetch().ok
            route.abort()

        self.page.route(f"**/api/{path}", send_and_break, times=1)

    def hold(self, path):
        def keep(route):
            self.held.append(route)

        self.page.route(f"**/api/{path}", keep, times=1)

    def let_through(self):
        self.page.wait_for_timeout(100)  # whatever the page sends meanwhile
        self.held.pop().continue_()


def answer_all(port):
    """Answer a whole session without a browser."""
    token = ""

    def ask(path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        content = None if body is None else json.dumps(body)
        connection.request("POST" if body else "GET", f"/api/{path}", content, {"Authorization": f"Bearer {token}"})
        reply = json.loads(connection.getresponse().read())
        connection.close()
        return reply

    token = ask("join", {"consent_version": "1", "request": secrets.token_hex(16)})["token"]
    while not (trial := ask("next")).get("finished"):
        right = trial["right"] == trial["original"]  # of catch trials
        answer = {"trial": trial["trial"], "request": secrets.token_hex(16), "choice": "right" if right else "left"}
        ask("vote", answer | {"milliseconds": 900, "width": 800, "height": 600, "pixel_ratio": 1, "zoomed": False})
