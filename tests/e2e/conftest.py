"""A real server with two untrained models, and a real browser in front of it."""

import re
from pathlib import Path

import pytest

from medfe.inference import shipped_models

from .comparepage import PATIENCE, ComparePage
from .servers import running, save_results, save_untrained_models

CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# The canvas draws itself anew sixty times a second, which costs a renderer without a graphics card all its time.
TEN_FRAMES_A_SECOND = """
window.requestAnimationFrame = draw => setTimeout(() => draw(performance.now()), 100);
window.cancelAnimationFrame = clearTimeout;
"""
ARTIFACTS = Path(__file__).parents[2] / "artifacts" / "e2e"  # screenshots, to be looked at
VIEWS = {
    "desktop-light": (1280, 1000, "light"),
    "desktop-dark": (1280, 1000, "dark"),
    "phone-light": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}


@pytest.fixture(scope="session")
def run_folders(tmp_path_factory):
    """Two runs of preset tiny, untrained, one of each published arm."""
    return save_untrained_models(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def start():
    """Return the function that runs a server with arguments of its own."""
    return running


@pytest.fixture(scope="session")
def served(run_folders, tmp_path_factory):
    """The server of the two models."""
    own = ("--no-shipped", "--models", *run_folders)
    results = save_results(tmp_path_factory.mktemp("results"))
    with running(*own, "--max-upload-mb", 4, "--results", results) as found:
        yield found


@pytest.fixture(scope="session")
def address(served):
    """Where the page of the two models is served."""
    return served.address


@pytest.fixture(scope="session")
def shipped_address():
    """Where the page of the shipped models is served."""
    if not {"faces128/low_resolution", "faces128/autoencoder"} <= set(shipped_models()):
        pytest.skip("found no weights of faces128 in the package")
    with running() as found:
        yield found.address


@pytest.fixture(scope="session")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running_browser = playwright.chromium.launch(executable_path=str(chromium), args=CHROMIUM_FLAGS)
        yield running_browser
        running_browser.close()


@pytest.fixture(scope="session")
def screen(browser):
    """Return a function that gives a screen of a kind of view. Pages on one screen share what they have loaded."""
    screens = {}

    def of(view):
        if view not in screens:
            width, height, color_scheme = VIEWS[view]
            size = {"width": width, "height": height}
            screens[view] = browser.new_context(
                viewport=size, color_scheme=color_scheme, has_touch=view.startswith("phone")
            )
            screens[view].add_init_script(TEN_FRAMES_A_SECOND)
        return screens[view]

    return of


@pytest.fixture
def visit(screen, request):
    """Return a function that opens a page as a new visitor, and fails the test if the page reaches elsewhere.

    Gradio keeps nothing in the browser: visitors are told apart by the page they opened. At the end of the test what
    they see is kept as a picture.
    """
    pages, problems = [], []
    test = re.sub(r"[^\w-]+", "-", request.node.name).strip("-")

    def open_page(address, view="desktop-light"):
        page = screen(view).new_page()
        pages.append((view, page))
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((address, "data:", "blob:"))
                or problems.append(f"request to elsewhere: {request.url}")
            ),
        )
        page.goto(address)
        compare = ComparePage(page)
        compare.wait_for_canvas()
        compare.shown_run = compare.run_name()
        return compare

    yield open_page
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    for number, (view, page) in enumerate(pages, start=1):
        page.screenshot(path=ARTIFACTS / f"{test}-{number}-{view}.png", full_page=True)
        page.close()
    assert problems == []
