"""A study from consent to report: people in a real browser, by keyboard or by touch, with interruptions."""

import signal

import numpy as np
import pytest
from PIL import Image

from medfe import cli

from .labelpage import PATIENCE, Network, Page, Server, answer_all

TRIALS = 12


@pytest.fixture(scope="module")
def new_study(tmp_path_factory):
    """Return a function that makes a study of two methods on smooth pictures, with a target number of answers."""
    place = tmp_path_factory.mktemp("study")
    (place / "photographs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(20):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(place / "photographs" / f"{number}.png")

    def make(target):
        folder = place / f"study{target}"
        arguments = ["--data", place / "photographs", "--out", folder, "--n", 14, "--trials", TRIALS]
        arguments += ["--image-size", 64, "--practice", 2, "--target-votes", target]
        cli.main(["study", "create", "--methods", "blurry=mean_fill", "sharp=telea", *map(str, arguments)])
        return folder

    return make


@pytest.fixture(scope="module")
def server(new_study):
    """A study that nobody fills; a test looks at the votes of its own rater, the last who joined."""
    running = Server(new_study(1000))
    yield running
    running.end()


@pytest.fixture
def small(new_study):
    """A study that two raters fill."""
    running = Server(new_study(20))
    yield running
    running.end()


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


def test_a_study_by_keyboard_alone_closed_in_the_middle_resumed_finished_exported_and_analysed(visit, small, capsys):
    folder = small.folder
    first = visit(small.address, viewport={"width": 1280, "height": 800})
    first.page.wait_for_selector("#title:focus")
    first.press("Enter")
    assert first.page.is_visible("#welcome")  # not agreed yet
    first.press("Tab", "Enter")
    first.practise()
    for position, key in enumerate("12012"):
        first.ready(f"trial {position}")
        first.press(key)
    first.ready("trial 5")
    left, right = first.seen("left"), first.seen("right")
    storage = first.page.context.storage_state()
    first.page.context.close()

    second = visit(small.address, storage, viewport={"width": 1280, "height": 800})
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
    second.press("p")
    second.page.wait_for_selector("#resume:focus")
    second.press("Enter")
    second.page.wait_for_selector("#trial:visible")
    for position in range(5, TRIALS):
        second.ready(f"trial {position}")
        second.press("1")
    second.ready("finished")
    assert "Thank you" in second.page.inner_text("#headline:focus")

    with pytest.raises(SystemExit):
        cli.main(["study", "analyse", str(folder)])
    assert "found 10 of 20 answers" in capsys.readouterr().err
    own = small.votes()
    answer_all(small.port)
    choices = ["left", "right", "tie", "left", "tie"] + 7 * ["left"]
    assert own["choice"].tolist() == choices
    assert own["first_choice"].tolist() == [*choices[:4], "right", *choices[5:]]
    assert own["zoomed"].tolist() == [place == 5 for place in range(TRIALS)]
    assert set(own["viewport_width"]) == {1200}
    assert own["milliseconds"].between(250, PATIENCE).all()
    cli.main(["study", "analyse", str(folder)])
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "20 answers of 2 raters" in report
    assert "Peeked" not in report
    cli.main(["study", "backup", str(folder), "--out", str(folder / "copy.sqlite")])
    assert f"{2 * TRIALS} votes copied" in capsys.readouterr().out


def test_a_study_by_touch_at_phone_size(visit, server):
    size = {"width": 390, "height": 844}
    rater = visit(server.address, viewport=size, has_touch=True, is_mobile=True, device_scale_factor=3)
    page = rater.page
    page.wait_for_selector("#title:focus")
    assert page.evaluate("scrollY") == 0  # what is agreed to is seen first
    assert page.locator("#agree").bounding_box()["y"] > size["height"]
    page.tap("#agree")
    for number in range(2):
        rater.ready(f"practice {number}")
        page.tap("[data-choice=right]")
        page.tap("#proceed")
    for position in range(TRIALS):
        rater.ready(f"trial {position}")
        if position in (0, TRIALS - 1):
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
    votes = server.votes()
    assert votes["choice"].tolist() == 6 * ["left", "tie"]
    assert set(votes["viewport_width"]) == {300}
    assert (390, 844, 3.0) in server.query("SELECT DISTINCT viewport_width, viewport_height, pixel_ratio FROM votes")
    assert votes["zoomed"].tolist() == [place == 0 for place in range(TRIALS)]


def test_in_a_low_window_the_pictures_are_still_large_enough_to_judge(visit, server):
    """A telephone held sideways, a smaller one, a laptop, and a laptop whose page is enlarged twice."""
    rater = visit(server.address)
    rater.page.click("#agree")
    rater.ready("practice 0")
    for width, height, least in ((844, 390, 150), (667, 375, 130), (1366, 640, 280), (683, 320, 110)):
        rater.page.set_viewport_size({"width": width, "height": height})
        boxes = {name: rater.page.locator(f"#{name} .frame").bounding_box() for name in ("left", "original", "right")}
        assert all(box["width"] == box["height"] >= least for box in boxes.values())
        assert boxes["left"]["x"] < boxes["original"]["x"] < boxes["right"]["x"] <= width - boxes["right"]["width"]
        buttons = [rater.page.locator(f"[data-choice={name}]").bounding_box() for name in ("left", "tie", "right")]
        assert all(box["height"] >= 44 and box["y"] + box["height"] <= height for box in buttons)
        assert rater.page.locator("#label").is_visible()


def test_an_answer_that_cannot_be_saved_is_told_and_saved_once_when_it_is_tried_again(visit, server):
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
    assert server.votes()["choice"].tolist() == ["left"]


def test_whoever_withdraws_leaves_no_answer(visit, server):
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
    assert rater.page.inner_text("#headline:focus") == "You have withdrawn"
    assert server.votes().empty
    rater.page.reload()
    rater.page.wait_for_selector("#agree")


@pytest.mark.parametrize("reloaded", [True, False])
def test_whoever_did_not_begin_in_time_can_start_again(visit, server, reloaded):
    rater = visit(server.address)
    rater.page.click("#agree")
    rater.ready("practice 0")
    server.query(f"UPDATE raters SET deadline = joined WHERE id = {server.raters}")
    if reloaded:
        rater.page.reload()
    else:
        rater.practise()
    rater.page.get_by_text("your place was given away").wait_for()
    rater.press("Enter")
    rater.page.wait_for_selector("#title:focus")
    rater.press("Tab", "Enter")
    rater.practise()
    rater.ready("trial 0")


def test_a_reply_that_is_lost_is_asked_for_again_without_joining_twice(visit, server):
    rater = visit(server.address)
    network, before = Network(rater.page), server.raters
    network.lose_reply("join")
    network.break_once("practice/0")
    rater.page.click("#agree")
    rater.page.wait_for_selector("#resume:focus")
    assert server.raters == before + 1
    rater.press("Enter")
    rater.page.wait_for_selector("#resume:focus")
    network.hold("practice/0")
    rater.press("Enter")
    assert rater.page.is_hidden("#resume")  # or a second press would ask twice
    network.let_through()
    rater.ready("practice 0")
    assert server.raters == before + 1

    network.break_once("practice/0")
    rater.press("1")
    rater.page.wait_for_selector("#resume:focus")
    rater.press("Enter")
    rater.page.wait_for_selector("#proceed:visible")
    assert rater.page.is_visible("#trial")


def test_a_key_pressed_before_the_other_trial_is_there_answers_none(visit, server):
    rater = visit(server.address)
    network = Network(rater.page)
    rater.page.click("#agree")
    rater.practise()
    rater.ready("trial 0")
    rater.press("1")
    rater.ready("trial 1")
    for path, shown in (("last", "correction 0"), ("next", "trial 1")):
        network.hold(path)
        rater.press("b", "2")
        network.let_through()
        rater.ready(shown)
    assert server.votes()["choice"].tolist() == ["left"]


def test_an_answer_that_another_window_gave_first_leaves_no_word_of_saving(visit, server):
    slower = visit(server.address)
    slower.page.click("#agree")
    slower.practise()
    slower.ready("trial 0")
    faster = Page(slower.page.context.new_page())
    faster.page.goto(server.address)
    faster.page.click("#resume")
    faster.ready("trial 0")
    faster.press("1")
    faster.ready("trial 1")
    slower.press("2")
    slower.ready("trial 1")
    assert slower.page.inner_text("#status") == ""
    assert server.votes()["choice"].tolist() == ["left"]


def test_two_studies_at_one_address_are_kept_apart(visit, server):
    rater = visit(server.address)
    rater.page.click("#agree")
    rater.ready("practice 0")

    def another(route):
        reply = route.fetch()
        route.fulfill(response=reply, json=reply.json() | {"created": "another day"})

    rater.page.route("**/api/study", another, times=1)
    rater.page.reload()
    rater.page.wait_for_selector("#title:focus")
    rater.page.reload()
    rater.page.get_by_text("Welcome back").wait_for()
