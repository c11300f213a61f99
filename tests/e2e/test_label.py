"""A study from consent to report: people in a real browser, by keyboard or by touch, with interruptions."""

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medfe import cli

TRIALS, PATIENCE = 12, 120_000


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
    """A study of two methods on smooth pictures; two raters give all its answers."""
    place = tmp_path_factory.mktemp("study")
    (place / "photographs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(20):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(place / "photographs" / f"{number}.png")
    arguments = ["--data", place / "photographs", "--out", place / "study", "--n", 14, "--trials", TRIALS]
    arguments += ["--image-size", 64, "--practice", 2, "--target-votes", 20]
    cli.main(["study", "create", "--methods", "blurry=mean_fill", "sharp=telea", *map(str, arguments)])
    return place / "study"


@pytest.fixture
def folder(study_folder, tmp_path):
    """A copy of the study without votes."""
    return shutil.copytree(study_folder, tmp_path / "study")


class Server:
    """`python -m demo --study`."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
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


@pytest.fixture
def server(folder):
    running = Server(folder)
    yield running
    with contextlib.suppress(ValueError):
        running.end()


class Page:
    """What a rater does; waits where a person would."""

    def __init__(self, page):
        self.page = page
        page.set_default_timeout(PATIENCE)

    def ready(self, what):
        self.page.wait_for_selector(f"body[data-ready='{what}']")
        self.page.wait_for_timeout(350)  # a press within a quarter of a second is a slip of the finger

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


@pytest.fixture
def visit(browser):
    """Return a function that opens the page; with the storage of an earlier visit, on the same device."""
    contexts, problems = [], []

    def open_page(address, storage=None, **options):
        context = browser.new_context(storage_state=storage, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.on("request", lambda sent: sent.url.startswith((address, "data:")) or problems.append(sent.url))
        page.goto(address)
        return Page(page)

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


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

    token = ask("join", {"consent_version": "1"})["token"]
    while not (trial := ask("next")).get("finished"):
        right = trial["right"] == trial["original"]  # of catch trials
        answer = {"trial": trial["trial"], "request": secrets.token_hex(16), "choice": "right" if right else "left"}
        ask("vote", answer | {"milliseconds": 900, "width": 800, "height": 600, "pixel_ratio": 1, "zoomed": False})


def export(folder, *arguments):
    cli.main(["study", "export", str(folder), "--out", str(folder / "export"), *arguments])
    return pd.read_parquet(folder / "export" / "votes.parquet")


def test_a_study_by_keyboard_alone_closed_in_the_middle_resumed_finished_exported_and_analysed(
    visit, server, folder, capsys
):
    first = visit(server.address, viewport={"width": 1280, "height": 800})
    first.page.wait_for_selector("#agree:focus")
    first.press("Enter")
    first.practise()
    keys = ["1", "2", "0", "1", "2"]
    for position, key in enumerate(keys):
        first.ready(f"trial {position}")
        first.press(key)
    first.ready("trial 5")
    left, right = first.seen("left"), first.seen("right")
    storage = first.page.context.storage_state()
    first.page.context.close()

    second = visit(server.address, storage, viewport={"width": 1280, "height": 800})
    second.page.wait_for_selector("#resume:focus")
    assert "5 of 12" in second.page.inner_text("#message")
    second.press("Enter")
    second.ready("trial 5")
    assert (second.seen("left"), second.seen("right")) == (left, right)
    second.press("b")
    second.ready("correction 4")
    second.press("0")
    second.ready("trial 5")
    second.press("z", "ArrowUp")
    assert second.page.get_attribute("#zoom", "aria-pressed") == "true"
    for position in range(5, TRIALS):
        second.ready(f"trial {position}")
        second.press("p")
        second.page.wait_for_selector("#resume:focus")
        second.press("Enter")
        second.page.wait_for_selector("#trial:visible")
        second.press("1")
    second.ready("finished")
    assert "Thank you" in second.page.inner_text("#headline")

    with pytest.raises(SystemExit):
        cli.main(["study", "analyse", str(folder)])
    assert "found 10 of 20 answers" in capsys.readouterr().err
    answer_all(server.port)
    votes = export(folder)
    own = votes[votes["rater"] == 1]
    choices = ["left", "right", "tie", "left", "tie"] + 7 * ["left"]
    assert own["choice"].tolist() == choices
    assert own["first_choice"].tolist() == [*choices[:4], "right", *choices[5:]]
    assert own["zoomed"].tolist() == [place == 5 for place in range(TRIALS)]
    assert set(own["viewport_width"]) == {1280}
    assert own["milliseconds"].between(300, PATIENCE).all()
    cli.main(["study", "analyse", str(folder)])
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "20 answers of 2 raters" in report
    assert "Peeked" not in report
    cli.main(["study", "backup", str(folder), "--out", str(folder / "copy.sqlite")])
    assert f"{2 * TRIALS} votes copied" in capsys.readouterr().out


def test_a_study_by_touch_at_phone_size(visit, server, folder):
    size = {"width": 390, "height": 844}
    rater = visit(server.address, viewport=size, has_touch=True, is_mobile=True, device_scale_factor=3)
    page = rater.page
    page.tap("#agree")
    for number in range(2):
        rater.ready(f"practice {number}")
        page.tap("[data-choice=right]")
        page.tap("#proceed")
    for position in range(TRIALS):
        rater.ready(f"trial {position}")
        for name in ("original", "left", "right"):
            box = page.locator(f"#{name} .frame").bounding_box()
            assert box["width"] == box["height"] >= 140
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size["width"]
        buttons = [page.locator(f"[data-choice={choice}]").bounding_box() for choice in ("left", "tie", "right")]
        assert all(box["height"] >= 44 and box["y"] + box["height"] <= size["height"] for box in buttons)
        if position == 0:
            page.tap("#left .frame")
            assert page.get_attribute("#zoom", "aria-pressed") == "true"
            page.tap("#left .frame")
        page.tap(f"[data-choice={'tie' if position % 2 else 'left'}]")
    rater.ready("finished")
    votes = export(folder, "--peek")
    assert votes["choice"].tolist() == 6 * ["left", "tie"]
    assert (set(votes["viewport_width"]), set(votes["pixel_ratio"])) == ({390}, {3.0})
    assert votes["zoomed"].tolist() == [place == 0 for place in range(TRIALS)]


def test_an_answer_that_cannot_be_saved_is_told_and_saved_once_when_it_is_tried_again(visit, server, folder):
    rater = visit(server.address)
    rater.page.click("#agree")
    rater.practise()
    rater.ready("trial 0")
    server.end(signal.SIGKILL)
    rater.press("1")
    rater.page.wait_for_selector("#status.error")
    assert "Not saved" in rater.page.inner_text("#status")
    server.start()
    rater.press("Enter")
    rater.ready("trial 1")
    assert rater.page.inner_text("#status") == "Saved"
    assert export(folder, "--peek")["choice"].tolist() == ["left"]


def test_whoever_withdraws_leaves_no_answer(visit, server, folder):
    rater = visit(server.address)
    rater.page.click("#agree")
    rater.practise()
    rater.ready("trial 0")
    rater.press("2")
    rater.ready("trial 1")
    rater.page.focus("#withdraw")
    rater.press("Enter")
    rater.page.wait_for_selector("#keep:focus")
    rater.press("Tab", "Enter")
    rater.page.get_by_text("You have withdrawn").wait_for()
    assert export(folder, "--peek").empty
    rater.page.reload()
    rater.page.wait_for_selector("#agree")


def test_whoever_did_not_begin_in_time_can_start_again(visit, server, folder):
    rater = visit(server.address)
    rater.page.click("#agree")
    rater.ready("practice 0")
    with contextlib.closing(sqlite3.connect(folder / "votes.sqlite")) as database, database:
        database.execute("UPDATE raters SET deadline = joined")
    rater.page.reload()
    rater.page.get_by_text("your place was given away").wait_for()
    rater.press("Enter")
    rater.page.wait_for_selector("#agree:focus")
    rater.press("Enter")
    rater.practise()
    rater.ready("trial 0")
