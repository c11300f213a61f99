"""The tabs beside Compare, and the page as a whole: readable on every screen, with names for all there is."""

import numpy as np
import pytest

VIEWS = [
    "phone-dark",
    *(pytest.param(view, marks=pytest.mark.slow) for view in ("desktop-light", "desktop-dark")),
]
DARK = "document.body.classList.contains('dark')"


@pytest.mark.parametrize("view", VIEWS)
def test_results_show_what_the_experiments_wrote_and_about_explains_the_idea_with_a_figure(visit, address, view):
    compare = visit(address, view)
    compare.tab("Results")
    page = compare.page
    page.get_by_role("heading", name="What was found").wait_for()
    assert page.locator("#report-text td").all_inner_texts() == ["less", "more"]
    assert page.locator("#report-text img").evaluate("image => image.complete && image.naturalWidth") == 60
    contrasts = page.locator("#report-figures .contrast")
    assert [text.split("\n")[-1] for text in contrasts.all_inner_texts()] == [
        "−2.000 (−3.000 to −1.000)", "+1.000 (−4.000 to +6.000)"
    ]  # fmt: skip
    tables = page.locator("#report-tables details")
    titles = [text.split()[0] for text in tables.locator("summary").all_inner_texts()]
    assert titles == ["found_contrasts.csv", "found_runs.csv"]
    assert not tables.locator("table").first.is_visible()  # folded away
    tables.nth(1).locator("summary").click()
    assert tables.nth(1).locator("tbody tr").count() == 3
    assert tables.nth(1).locator("table").is_visible()
    with page.expect_download() as download:
        tables.nth(1).locator("a[download]").click()
    assert download.value.path().read_text().startswith("run,")
    assert not compare.overflows()
    assert page.evaluate(DARK) == view.endswith("dark")

    compare.tab("About")
    for heading in ("The idea", "The models on this page", "Limits", "Your pictures", "Licences", "Citation"):
        assert page.get_by_role("heading", name=heading, exact=True).is_visible()
    drawings = page.locator(".idea svg")
    assert drawings.count() == 3
    for drawing in drawings.all():
        assert drawing.bounding_box()["width"] >= 250
    assert page.locator("#models tbody tr").count() == 2
    assert not compare.overflows()


@pytest.mark.slow
def test_pictures_are_zoomed_together_and_two_of_them_slide(visit, address):
    compare = visit(address)
    page = compare.page
    pictures = page.locator(".panels .picture img")
    frames = page.locator(".panels .picture .image-container > button")

    def widths():
        page.wait_for_timeout(400)
        return [picture.bounding_box()["width"] for picture in pictures.all()]

    before = widths()
    frames.nth(2).click(position={"x": 60, "y": 90})
    assert widths() == pytest.approx([3 * width for width in before])
    frames.nth(0).click()
    assert widths() == pytest.approx(before)
    frames.nth(1).focus()
    page.keyboard.press("Enter")
    assert widths() == pytest.approx([3 * width for width in before])
    page.keyboard.press("Enter")
    assert widths() == pytest.approx(before)

    page.get_by_text("Compare two, slide between them").click()
    slid = page.locator("#slider img")
    slid.nth(1).wait_for()
    shown = compare.pictures()
    assert same(compare, slid, shown["MEDFE"], shown["MEDFE+CAE"])
    sources = slid.evaluate_all("images => images.map(image => image.src).join()")
    page.get_by_label("Left").click()
    page.get_by_role("option", name="Ground truth").click()
    page.wait_for_function(
        "before => [...document.querySelectorAll('#slider img')].map(image => image.src).join() !== before", arg=sources
    )
    assert same(compare, slid, shown["Ground truth"], shown["MEDFE+CAE"])


def same(compare, images, *expected):
    """Whether the two images are these pictures, in any order: the page puts the left one on top."""
    found = [compare.fetch(image) for image in images.all()]
    return all(any(np.array_equal(picture, other) for other in found) for picture in expected)
