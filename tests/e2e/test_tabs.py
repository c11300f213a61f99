"""The tabs beside Compare, and the page as a whole: readable on every screen, with names for all there is."""

import pytest

VIEWS = [
    "phone-dark",
    *(pytest.param(view, marks=pytest.mark.slow) for view in ("desktop-light", "desktop-dark", "phone-light")),
]
DARK = "document.body.classList.contains('dark')"


@pytest.mark.parametrize("view", VIEWS)
def test_results_show_what_the_experiments_wrote(visit, address, view):
    compare = visit(address, view)
    compare.tab("Results")
    page = compare.page
    page.get_by_role("heading", name="What was found").wait_for()
    assert page.locator("#report-text td").all_inner_texts() == ["less", "more"]
    assert page.locator("#report-text img").evaluate("image => image.complete && image.naturalWidth") == 60
    tables = page.locator("#report-tables details")
    assert [text.split()[0] for text in tables.locator("summary").all_inner_texts()] == ["found_runs.csv"]
    assert tables.locator("tbody tr").count() == 3
    with page.expect_download() as download:
        tables.locator("a[download]").click()
    assert download.value.path().read_text().startswith("run,")
    assert not compare.overflows()
    assert page.evaluate(DARK) == view.endswith("dark")


@pytest.mark.parametrize("view", VIEWS)
def test_about_explains_the_idea_with_a_figure(visit, address, view):
    compare = visit(address, view)
    compare.tab("About")
    page = compare.page
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
    widths = [picture.bounding_box()["width"] for picture in pictures.all()]
    pictures.nth(2).click()
    page.wait_for_timeout(400)
    assert [picture.bounding_box()["width"] for picture in pictures.all()] == pytest.approx([3 * w for w in widths])
    pictures.nth(0).click()
    page.wait_for_timeout(400)
    assert [picture.bounding_box()["width"] for picture in pictures.all()] == pytest.approx(widths)

    page.get_by_text("Compare two, slide between them").click()
    slid = page.locator("#slider img")
    slid.nth(1).wait_for()
    before = slid.evaluate_all("images => images.map(image => image.src)")
    page.get_by_label("Left").click()
    page.get_by_role("option", name="Ground truth").click()
    page.wait_for_function(
        "before => document.querySelector('#slider img').src !== before[0] ||"
        "document.querySelectorAll('#slider img')[1].src !== before[1]",
        arg=before,
    )
    truth = pictures.nth(0).get_attribute("src").rsplit("/", 2)[1]  # the content's hash
    assert truth in "".join(slid.evaluate_all("images => images.map(image => image.src)"))
