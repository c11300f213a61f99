"""What a visitor does: draw, fill, look; on a real server and in a real browser."""

import numpy as np
from PIL import Image

from medfe.data.samples import portraits, scenes

TITLES = ["Ground truth", "Masked input", "MEDFE", "MEDFE+CAE"]
HOLE_COLOR = (123, 104, 117)


def check_results(pictures, truth):
    """Known pixels equal the input bit for bit, everywhere else the models differ from the empty hole."""
    assert {picture.shape for picture in pictures.values()} == {truth.shape}
    assert np.array_equal(pictures["Ground truth"], truth)
    hole = (pictures["Masked input"] != truth).any(axis=2)
    assert (pictures["Masked input"][hole] == HOLE_COLOR).all()
    results = [picture for title, picture in pictures.items() if title not in TITLES[:2]]
    for result in results:
        assert np.array_equal(result[~hole], truth[~hole])
        assert (result[hole] != HOLE_COLOR).any(axis=1).mean() > 0.9
    assert not np.array_equal(results[0], results[1])
    return hole


def test_a_hole_that_is_drawn_is_filled_by_both_models_and_known_pixels_stay(visit, address):
    compare = visit(address)
    compare.stroke((-0.3, 0.1), (0.3, 0.1))
    compare.fill()
    pictures = compare.pictures()
    assert list(pictures) == TITLES
    hole = check_results(pictures, np.asarray(portraits()["astronaut"]))
    rows, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
    assert 0.4 < rows.mean() / len(hole) < 0.7  # the stroke was drawn across, just below the middle
    assert abs(columns.mean() / len(hole) - 0.5) < 0.03
    assert f"{100 * hole.mean():.1f} %" in compare.status()

    # A second run without reloading, by keyboard, on a hole with a stroke more.
    compare.stroke((0, -0.4), (0, 0.4))
    compare.page.keyboard.press("Control+Enter")
    compare.page.wait_for_function(
        "share => !document.getElementById('status').innerText.includes(share)", arg=f"{100 * hole.mean():.1f} %"
    )
    larger = check_results(compare.pictures(), np.asarray(portraits()["astronaut"]))
    assert larger[hole].all()
    assert larger.sum() > hole.sum()


def test_a_photograph_that_is_not_square_and_was_turned_by_the_camera_is_filled_upright(visit, address):
    photograph = scenes()["coffee"].resize((300, 200))
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held on its side
    compare = visit(address)
    compare.upload(photograph, exif=turned)
    compare.wait_for_status("200×300")
    compare.page.wait_for_timeout(1000)
    compare.stroke((-0.2, 0), (0.2, 0))
    compare.fill()
    check_results(compare.pictures(), np.asarray(photograph.rotate(-90, expand=True)))


def test_mistakes_are_told_on_the_page_and_the_next_try_works(visit, address):
    compare = visit(address)
    compare.page.click("#fill")
    compare.wait_for_status("There is no hole yet")
    compare.upload_bytes(b"no picture at all")
    compare.wait_for_status("not a picture")
    compare.page.click("#rule-centre")
    compare.wait_for_status("25.0 %")
    compare.page.wait_for_timeout(1000)
    compare.page.get_by_role("button", name="Invert").click()
    compare.wait_for_status("75.0 %")
    compare.page.wait_for_timeout(1000)
    compare.fill()
    hole = check_results(compare.pictures(), np.asarray(portraits()["astronaut"]))
    expected = np.ones((120, 120), dtype=bool)
    expected[30:90, 30:90] = False
    assert np.array_equal(hole, expected)


def test_a_blind_comparison_names_the_models_after_the_choice_and_saves_exact_files(visit, address):
    compare = visit(address, width=390, height=844, color_scheme="dark")
    compare.page.click("#rule-centre")
    compare.wait_for_status("25.0 %")
    compare.page.wait_for_timeout(1000)
    compare.page.check("#blind input")
    compare.page.click("#fill")
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
    assert compare.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    compare.page.get_by_text("Save as PNG").click()
    compare.page.get_by_role("button", name="Prepare the files").click()
    link = compare.page.locator("#save a[download]", has_text="").nth(3)
    link.wait_for()
    with compare.page.expect_download() as download:
        link.click()
    saved = np.asarray(Image.open(download.value.path()))
    assert np.array_equal(saved, list(after.values())[2])


def test_the_shipped_models_fill_a_portrait(visit, shipped_address):
    compare = visit(shipped_address)
    compare.page.click("#rule-centre")
    compare.wait_for_status("25.0 %")
    compare.page.wait_for_timeout(1000)
    compare.fill()
    pictures = compare.pictures()
    assert list(pictures) == TITLES
    truth = np.asarray(portraits()["astronaut"])
    hole = check_results(pictures, truth)
    for title in TITLES[2:]:  # nearer to the truth than the mean colour of the known part is
        error = np.abs(pictures[title][hole].astype(float) - truth[hole]).mean()
        assert error < np.abs(truth[~hole].mean(axis=0) - truth[hole]).mean()
