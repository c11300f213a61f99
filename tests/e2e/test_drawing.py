"""The hole on its way from the visitor's hand to the models, on screens of every kind."""

import io

import numpy as np
import pytest
from PIL import Image

from demo.holes import RULES, by_rule
from medfe.data.samples import portraits

COLOR = (40, 96, 200)
SIZE = (300, 360)
PORTRAIT = np.asarray(portraits()["astronaut"])


def area_and_centre(hole):
    """Return a mask's share and the centre of its mass, in shares of width and height."""
    rows, columns = np.nonzero(hole)
    return hole.mean(), np.array([(columns.mean() + 0.5) / hole.shape[1], (rows.mean() + 0.5) / hole.shape[0]])


def assert_as_seen(hole, seen):
    """The server's mask has the area and the centre of what is inked on the screen, within 2 %."""
    (area, centre), (seen_area, seen_centre) = area_and_centre(hole), area_and_centre(seen)
    assert area == pytest.approx(seen_area, rel=0.02)
    assert np.abs(centre - seen_centre).max() < 0.02


@pytest.fixture
def blank(visit, address):
    """Return a function that opens the page with a picture of one colour, on which every stroke can be seen."""

    def open_blank(view):
        compare = visit(address, view)
        before = compare.canvas()
        compare.upload(Image.new("RGB", SIZE, COLOR))
        compare.wait_for_status("300×360")
        compare.settle(before)
        return compare

    return open_blank


def received(compare):
    """Fill the hole and return the mask that the server used; all pictures must be right."""
    compare.fill()
    return compare.hole_in(np.full((SIZE[1], SIZE[0], 3), COLOR, dtype=np.uint8))


@pytest.mark.parametrize("view", ["desktop-light", pytest.param("phone-dark", marks=pytest.mark.slow)])
def test_what_is_drawn_erased_undone_and_cleared_is_what_the_server_gets(blank, view):
    compare = blank(view)
    compare.stroke((-0.3, 0.2), (0.1, -0.3), (0.4, 0.3))
    drawn = compare.strokes_on(COLOR)
    hole = received(compare)
    assert 0.03 < hole.mean() < 0.5
    assert_as_seen(hole, drawn)

    compare.tap("Erase")
    compare.stroke((-0.4, 0), (0.5, 0))
    erased = compare.strokes_on(COLOR)
    smaller = received(compare)
    assert_as_seen(smaller, erased)
    assert smaller.sum() < 0.9 * hole.sum()
    assert not (smaller & ~hole).any()

    compare.tap("Undo")
    assert np.array_equal(received(compare), hole)

    compare.put("Clear", "Draw over")
    assert not compare.strokes_on(COLOR).any()
    compare.page.click("#fill")
    compare.wait_for_status("There is no hole yet")


def assert_kept_through_other_tabs(compare, drawn):
    """The drawing is the same after the visitor has looked at the other tabs, and so is what the server gets."""
    for tab in ("Results", "About", "Compare"):
        compare.tab(tab)
        assert not compare.overflows()
    compare.settle()
    assert np.array_equal(compare.strokes_on(COLOR), drawn)
    assert_as_seen(received(compare), drawn)


def test_a_finger_draws_as_a_mouse_does_and_other_tabs_leave_the_drawing_as_it_was(blank):
    compare = blank("phone-light")
    box = compare.page.locator("#editor canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    screen = compare.page.context.new_cdp_session(compare.page)
    for kind, dx in [("touchStart", -60), *(("touchMove", dx) for dx in range(-50, 61, 10)), ("touchEnd", None)]:
        points = [] if dx is None else [{"x": x + dx, "y": y + 20}]
        screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    compare.page.wait_for_timeout(300)
    seen = compare.strokes_on(COLOR)
    assert 0.02 < seen.mean() < 0.3
    assert_kept_through_other_tabs(compare, seen)


def test_a_hole_of_a_rule_lies_where_it_is_seen_and_strokes_add_to_it(blank):
    compare = blank("desktop-dark")
    centre = by_rule("Centre", SIZE, 0)
    compare.put("Centre")
    seen = compare.strokes_on(COLOR)
    assert_as_seen(centre, seen)
    assert np.array_equal(received(compare), centre)
    compare.stroke((-0.5, 0.6), (0.5, 0.6))
    seen = compare.strokes_on(COLOR)
    both = received(compare)
    assert_as_seen(both, seen)
    assert both[centre].all()
    assert both.mean() > 1.1 * centre.mean()


@pytest.mark.slow
def test_other_tabs_and_back_leave_a_drawing_by_mouse_as_it_was(blank):
    compare = blank("desktop-light")
    compare.stroke((-0.3, 0.3), (0.3, -0.2))
    assert_kept_through_other_tabs(compare, compare.strokes_on(COLOR))


@pytest.mark.slow
def test_each_rule_gives_its_hole_of_the_seed(visit, address):
    compare = visit(address)
    for name in RULES:
        compare.put(name)
        compare.fill()
        assert np.array_equal(compare.hole_in(PORTRAIT), by_rule(name, PORTRAIT.shape[:2], 2)), name
    before = compare.canvas()
    compare.page.fill("#seed input", "5")
    compare.page.keyboard.press("Tab")
    compare.wait_for_status(f"{100 * by_rule('Thick', PORTRAIT.shape[:2], 5).mean():.1f} %")
    compare.settle(before)
    compare.fill()
    assert np.array_equal(compare.hole_in(PORTRAIT), by_rule("Thick", PORTRAIT.shape[:2], 5))


@pytest.mark.slow
def test_a_mask_file_is_the_hole_and_can_grow_and_shrink(visit, address):
    mask = np.zeros(PORTRAIT.shape[:2], dtype=bool)
    mask[30:70, 50:90] = True
    content = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(content, format="PNG")
    compare = visit(address, "phone-dark")
    before = compare.canvas()
    compare.upload_bytes(content.getvalue(), "mask.png", button="mask-file")
    compare.wait_for_status("13.2 %")
    compare.settle(before)
    compare.fill()
    assert np.array_equal(compare.hole_in(PORTRAIT), mask)
    compare.put("Grow")
    compare.fill()
    grown = compare.hole_in(PORTRAIT)
    assert grown[mask].all()
    assert grown[28:72, 48:92].sum() > 0.95 * 44 * 44  # two pixels on each side, with round corners
    compare.put("Shrink")
    compare.fill()
    assert np.array_equal(compare.hole_in(PORTRAIT), mask)
