"""What a visitor does: draw, fill, look; on a real server and in a real browser."""

import re

import numpy as np
import pytest
from PIL import Image

from demo.holes import RULES, by_rule
from demo.pictures import canvas_size
from medfe.data.samples import portraits, scenes

from .comparepage import hole_in

# Twenty visitors who know nothing of this page and press the button at the same moment. Their answers are read, or the
# browser would keep its few connections busy with them.
CROWD = """async side => {
  const config = await (await fetch('config')).json();
  const id = config.components.find(part => part.props.elem_id === 'fill').id;
  const fn = config.dependencies.find(event => event.targets.some(([target]) => target === id));
  const bodies = [...Array(40).keys()].map(visitor => {
    const layer = document.createElement('canvas');
    layer.width = layer.height = side;
    // Each its own: a result that is there already waits for nobody.
    layer.getContext('2d').fillRect(100 + visitor, 100, 400, 400);
    const drawing = layer.toDataURL('image/png');
    const data = fn.inputs.map((_, place) => place === 1 ? drawing : place === 2 ? false : null);
    return JSON.stringify({data, fn_index: fn.id, session_hash: `crowd${visitor}`});
  });
  return Promise.all(bodies.map(async body => {
    const headers = {'Content-Type': 'application/json'};
    const answer = await fetch('gradio_api/queue/join', {method: 'POST', headers, body});
    return (await answer.json()).event_id;
  }));
}"""
NAMELESS = """() => [...document.querySelectorAll('img, button, input, a')]
  .filter(part => part.checkVisibility() && !part.alt && !part.innerText.trim() && !part.ariaLabel && !part.title
    && !(part.labels && [...part.labels].some(label => label.innerText.trim()))
    && !part.closest('[aria-label]') && !part.querySelector('[aria-label], [title], img[alt]'))
  .map(part => part.outerHTML.slice(0, 200))"""
FOCUSED = """() => {
  const part = document.activeElement;
  const label = part.labels?.[0]?.innerText || part.querySelector?.('img')?.alt;
  const name = part === document.body ? '' : (part.ariaLabel || label || part.innerText || '').trim();
  return [name, getComputedStyle(part).outlineStyle];
}"""
TITLES = ["Ground truth", "Masked input", "MEDFE", "MEDFE+CAE"]
PORTRAIT = np.asarray(portraits()["astronaut"])


@pytest.mark.slow
def test_a_hole_that_is_drawn_is_filled_and_another_run_needs_no_reloading(visit, address):
    compare = visit(address)
    compare.stroke((-0.3, 0.1), (0.3, 0.1))
    compare.fill()
    hole = compare.hole_in(PORTRAIT)
    rows, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
    assert 0.4 < rows.mean() / len(hole) < 0.7  # the stroke was drawn across, just below the middle
    assert abs(columns.mean() / len(hole) - 0.5) < 0.03
    assert f"{100 * hole.mean():.1f} %" in compare.status()

    compare.stroke((0, -0.4), (0, 0.4))
    compare.fill(lambda: compare.page.keyboard.press("Control+Enter"))
    larger = compare.hole_in(PORTRAIT)
    assert larger[hole].all()
    assert larger.sum() > hole.sum()


@pytest.mark.parametrize(
    ("view", "way"),
    [
        ("phone-dark", "upload"),
        pytest.param("desktop-light", "paste", marks=pytest.mark.slow),
        pytest.param("desktop-dark", "drop", marks=pytest.mark.slow),
    ],
)
def test_a_portrait_that_was_turned_by_the_camera_is_filled_upright(visit, address, view, way):
    photograph = scenes()["coffee"].resize((300, 200))
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held on its side
    compare = visit(address, view)
    before = compare.canvas()
    if way == "upload":
        compare.upload(photograph, exif=turned)
    else:
        compare.give(photograph, way, exif=turned)
    compare.wait_for_status("200×300")
    compare.settle(before)
    compare.stroke((-0.2, 0), (0.2, 0))
    compare.fill()
    compare.hole_in(np.asarray(photograph.rotate(-90, expand=True)))


def test_the_page_opens_with_a_right_example_and_tells_mistakes_and_the_next_try_works(visit, address):
    compare = visit(address)
    opened = compare.pictures()
    assert list(opened) == TITLES
    assert np.array_equal(hole_in(opened, PORTRAIT), by_rule("Brush", PORTRAIT.shape[:2], 8))
    assert compare.page.locator(".numbers dl").count() == 2

    compare.page.click("#fill")
    compare.wait_for_status("There is no hole yet")
    compare.upload_bytes(b"no picture at all")
    compare.wait_for_status("not a picture")
    compare.put("Centre", "25.0 %")
    compare.put("Invert", "75.0 %")
    compare.fill(lambda: compare.page.keyboard.press("Control+Enter"))
    hole = compare.hole_in(PORTRAIT)
    expected = np.ones(PORTRAIT.shape[:2], dtype=bool)
    expected[27:82, 27:82] = False
    assert np.array_equal(hole, expected)


def test_a_blind_comparison_names_the_models_after_the_choice_and_saves_exact_files(visit, address):
    compare = visit(address, "phone-dark")
    compare.put("Centre")
    compare.page.check("#blind input")
    compare.fill()
    compare.page.wait_for_selector("#verdict label")
    before = compare.pictures()
    assert list(before) == [*TITLES[:2], "Picture A", "Picture B"]
    assert "MEDFE" not in compare.page.inner_text(".panels")
    compare.page.get_by_label("Picture B").check()
    compare.page.wait_for_selector(".numbers dl")
    after = compare.pictures()
    assert set(after) == set(TITLES)
    assert np.array_equal(list(after.values()), list(before.values()))  # nothing moved
    assert f"it is {list(after)[3]}" in compare.status()

    compare.page.get_by_text("Difference to ground truth").click()
    compare.page.wait_for_selector("#scale .scale")
    assert not compare.overflows()
    compare.page.get_by_text("Save as PNG").click()
    compare.page.get_by_role("button", name="Prepare the files").click()
    link = compare.page.locator("#save a[download]", has_text="").nth(3)
    link.wait_for()
    with compare.page.expect_download() as download:
        link.click()
    saved = np.asarray(Image.open(download.value.path()))
    assert np.array_equal(saved, list(after.values())[2])


def test_the_shipped_models_fill_a_portrait_and_show_their_features(visit, shipped_address):
    compare = visit(shipped_address)
    compare.put("Centre")
    compare.fill()
    pictures = compare.pictures()
    assert list(pictures) == TITLES
    hole = compare.hole_in(PORTRAIT)
    for title in TITLES[2:]:  # nearer to the truth than the mean colour of the known part is
        error = np.abs(pictures[title][hole].astype(float) - PORTRAIT[hole]).mean()
        assert error < np.abs(PORTRAIT[~hole].mean(axis=0) - PORTRAIT[hole]).mean()

    compare.page.get_by_text("What the features see").click()
    compare.page.wait_for_function(
        "() => [...document.querySelectorAll('#views img')].filter(image => image.naturalWidth === 256).length === 8"
    )
    captions = compare.page.locator("#views .caption-label").all_inner_texts()
    kinds = ("structure", "structure, target", "texture", "texture, target")
    assert captions == [f"{title}: {kind}" for title in TITLES[2:] for kind in kinds]


@pytest.mark.slow
def test_models_without_their_targets_say_what_is_missing_and_no_path(visit, address, run_folders):
    compare = visit(address)
    compare.page.get_by_text("What the features see").click()
    compare.wait_for_status("MEDFE: ")
    assert "readout.weight" in compare.status()
    assert "structure.safetensors" in compare.status()
    assert str(run_folders[0].parent) not in compare.status()


@pytest.mark.slow
def test_a_visitor_who_has_to_wait_sees_a_place_in_the_queue(visit, address):
    compare, crowd, held = visit(address), visit(address), []
    compare.put("Centre")

    def hold(route):  # Playwright marks the handler, which a built-in method does not allow
        held.append(route)

    compare.page.route("**/gradio_api/queue/join*", hold, times=1)

    def come_last():
        with compare.page.expect_request("**/gradio_api/queue/join*"):
            compare.page.click("#fill")
        assert all(crowd.page.evaluate(CROWD, canvas_size(PORTRAIT.shape[:2])[0]))
        held.pop().continue_()  # on a slow machine the crowd might be gone before the page had asked
        compare.page.get_by_text(re.compile(r"queue: \d+/\d+")).wait_for()

    compare.fill(come_last)
    compare.hole_in(PORTRAIT)


@pytest.mark.slow
def test_every_picture_and_control_has_a_name_and_the_keyboard_reaches_them_in_order(visit, address):
    compare = visit(address)
    assert compare.page.evaluate(NAMELESS) == []
    compare.page.locator("#upload").focus()
    reached = []
    for _ in range(60):
        compare.page.keyboard.press("Tab")
        reached.append(compare.page.evaluate(FOCUSED))
    names = [name for name, _ in reached]
    order = [
        "Brush", "Erase", "Brush Size", *RULES, "Seed", "Grow", "Shrink", "Invert", "Clear", "Mask file",
        "Fill the hole", "Blind: hide the models' names", *TITLES, "Pictures",
    ]  # fmt: skip
    places = [names.index(name) for name in order if name != "Brush"]
    assert places == sorted(places), names
    # After the last one it begins again at the top: the pictures offered have names, too.
    assert {"Astronaut", "Chelsea"} <= set(names), names
    assert {outline for name, outline in reached if name} == {"solid"}  # the focus can be seen
