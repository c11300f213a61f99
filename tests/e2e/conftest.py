"""A real server with two untrained models, and a real browser in front of it."""

import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from medfe.config import GeneratorConfig
from medfe.inference import shipped_models
from medfe.models.generator import build_generator
from medfe.weightfiles import save_weights

CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 120_000  # milliseconds, on a loaded machine
ARTIFACTS = Path(__file__).parents[2] / "artifacts" / "e2e"  # screenshots, to be looked at
VIEWS = {
    "desktop-light": (1280, 1000, "light"),
    "desktop-dark": (1280, 1000, "dark"),
    "phone-light": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}
INK = (236, 72, 120)  # the colour of the hole on the canvas
HOLE_COLOR = (123, 104, 117)  # and in the masked input
CANVAS_FITS = """() => {
  const canvas = document.querySelector('#editor canvas');
  return canvas && Math.abs(canvas.clientWidth - canvas.parentElement.clientWidth) < 2;
}"""

SOURCES = "() => [...document.querySelectorAll('.panels .picture img')].map(picture => picture.src)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served(NamedTuple):
    """A running server."""

    address: str
    process: int
    temporary: Path
    """Folder of temporary files that no other process uses."""

    def outside(self):
        """Return the temporary files that lie outside the server's cache."""
        files = self.cached()
        return [path for path in files if not path.relative_to(self.temporary).parts[0].startswith("medfe-demo-")]

    def cached(self):
        """Return all temporary files."""
        return {path for path in self.temporary.rglob("*") if path.is_file()}


@contextlib.contextmanager
def running(*arguments):
    """Run `python -m demo`; it must write into its cache alone and clear that away at its end."""
    command = [sys.executable, "-m", "demo", "--port", str(free_port()), *map(str, arguments)]
    temporary = Path(tempfile.mkdtemp())
    environment = os.environ | {"TMPDIR": str(temporary)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        lines = iter(process.stdout.readline, "")
        address = next((word for line in lines for word in line.split() if word.startswith("http://")), None)
        assert address, f"the server ended with code {process.wait()}"
        yield Served(address, process.pid, temporary)
    finally:
        process.terminate()
        process.wait(120)
        left = [path for path in temporary.rglob("*") if path.is_file() or path.name.startswith("medfe")]
        shutil.rmtree(temporary)
    assert left == []


@pytest.fixture(scope="session")
def run_folders(tmp_path_factory):
    """Two runs of preset tiny, untrained, one of each published arm."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, (arm, head) in enumerate({"low_resolution": "norm_lrelu", "autoencoder": "tanh"}.items()):
        torch.manual_seed(seed)
        config = GeneratorConfig.preset("tiny").replace(head=head)
        tensors = {f"generator.{name}": value for name, value in build_generator(config).state_dict().items()}
        metadata = {"kind": "generator", "config": config.model_dump(mode="json"), "target": {"arm": arm}}
        save_weights(folder / arm / "generator.safetensors", tensors, metadata)
    return [folder / "low_resolution", folder / "autoencoder"]


@pytest.fixture(scope="session")
def start():
    """Return the function that runs a server with arguments of its own."""
    return running


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory):
    """What an experiment might have written: a report with a figure, and a table."""
    folder = tmp_path_factory.mktemp("results")
    table = "| before | after |\n|---|---|\n| less | more |\n"
    (folder / "found.md").write_text(f"# What was found\n\nA sentence.\n\n{table}\n![curve](found_curve.png)\n")
    (folder / "found_runs.csv").write_text("run,kid,seed\na,0.031,0\nb,0.029,1\nc,0.030,2\n")
    Image.new("RGB", (60, 40), "teal").save(folder / "found_curve.png")
    return folder


@pytest.fixture(scope="session")
def served(run_folders, results_folder):
    """The server of the two models."""
    own = ("--no-shipped", "--models", *run_folders)
    with running(*own, "--max-upload-mb", 4, "--results", results_folder) as found:
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


@dataclass
class ComparePage:
    """What a visitor does on the tab Compare."""

    page: object
    shown_run: str = ""
    """Name of the run that is shown."""

    def stroke(self, *points):
        """Draw on the canvas; points are shares of half its shorter side, from its middle."""
        self.page.locator("#editor canvas").first.scroll_into_view_if_needed()
        box = self.page.locator("#editor canvas").first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        side = min(box["width"], box["height"]) / 2
        (first, *others) = [(x + side * dx, y + side * dy) for dx, dy in points]
        self.page.mouse.move(*first)
        self.page.mouse.down()
        for point in others:
            self.page.mouse.move(*point, steps=6)
        self.page.mouse.up()
        self.page.wait_for_timeout(300)

    def tap(self, tool):
        """Press a button of the canvas."""
        self.page.locator("#editor").get_by_role("button", name=tool, exact=True).click()
        self.page.wait_for_timeout(300)

    def put(self, button, told="%"):
        """Press a button below the canvas, and wait until the canvas shows another hole."""
        before, canvas = self.status(), self.canvas()
        self.page.locator(".tools").get_by_role("button", name=button, exact=True).click()
        self.page.wait_for_function(
            "([before, told]) => {const now = document.getElementById('status').innerText.trim();"
            "return now.includes(told) && now !== before}",
            arg=[before, told],
        )
        self.settle(canvas)

    def settle(self, before=None):
        """Wait until the canvas has taken a picture or a hole: no event tells, so it must change and come to rest."""
        looks = [None if before is None else before.tobytes()]
        for _ in range(PATIENCE // 250):
            self.page.wait_for_timeout(250)
            looks.append(self.canvas().tobytes())
            if looks[-1] != looks[0] and looks[-3:] == looks[-1:] * 3:
                return
        raise AssertionError("the canvas never came to rest")

    def canvas(self):
        """Return the canvas as the visitor sees it, H×W×3."""
        self.page.mouse.move(5, 5)  # the brush's outline follows the mouse
        picture = self.page.locator("#editor canvas").first.screenshot()
        return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))

    def strokes_on(self, color):
        """Return what is inked of a picture of one colour, as it is seen: True = hole, cut to the picture."""
        seen = self.canvas().astype(int)
        ink, blank = (np.abs(seen - np.array(c)).max(axis=2) <= 40 for c in (INK, color))
        rows, columns = (np.flatnonzero((ink | blank).sum(axis=axis) > 20) for axis in (1, 0))
        return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def run_name(self):
        return self.page.locator("#status p").get_attribute("data-run")

    def fill(self, press=None):
        """Press the button, or do what does the same, and wait for the pictures of a new run, which must differ."""
        before = self.page.evaluate(SOURCES)
        (press or (lambda: self.page.click("#fill")))()
        self.page.wait_for_function(
            "([before, run]) => ![run, ''].includes(document.querySelector('#status p').dataset.run)"
            f" && ({SOURCES})().every((source, place) => place === 0 || source !== before[place])",
            arg=[before, self.shown_run],
        )
        self.shown_run = self.run_name()

    def tab(self, name):
        self.page.get_by_role("tab", name=name).click()
        self.page.wait_for_timeout(500)

    def overflows(self):
        """Whether the page is wider than the window."""
        return self.page.evaluate("document.querySelector('.gradio-container').scrollWidth > innerWidth")

    def upload(self, image, file_format="PNG", name="photo.png", **options):
        """Choose a picture in the dialogue of the upload button."""
        content = io.BytesIO()
        image.save(content, format=file_format, **options)
        self.upload_bytes(content.getvalue(), name)

    def upload_bytes(self, content, name="photo.png", button="upload"):
        """Choose a file in the dialogue of a button."""
        file = {"name": name, "mimeType": "image/png", "buffer": content}
        self.page.set_input_files(f"input[type=file]:has(+ #{button})", file)

    def status(self):
        return self.page.inner_text("#status").strip()

    def wait_for_status(self, part):
        self.page.wait_for_function("part => document.getElementById('status').innerText.includes(part)", arg=part)

    def pictures(self):
        """Return the panels' titles and pictures, fetched as bytes."""
        titles = [text.strip() for text in self.page.locator(".panels .picture label").all_inner_texts()]
        pictures = []
        for title, image in zip(titles, self.page.locator(".panels .picture img").all(), strict=True):
            assert image.get_attribute("alt") == title
            answer = self.page.request.get(image.evaluate("image => image.src"))
            assert answer.headers["content-type"] == "image/png"
            pictures.append(np.asarray(Image.open(io.BytesIO(answer.body()))))
        return dict(zip(titles, pictures, strict=True))

    def hole_in(self, truth):
        """Return the hole that the server used, once all pictures are right.

        They have one size, and known pixels equal the input bit for bit. In the hole the input shows one colour and the
        models show others.
        """
        return hole_in(self.pictures(), truth)


def hole_in(pictures, truth):
    assert {picture.shape for picture in pictures.values()} == {truth.shape}
    _, masked, *results = pictures.values()
    assert np.array_equal(pictures["Ground truth"], truth)
    hole = (masked != truth).any(axis=2)
    assert (masked[hole] == HOLE_COLOR).all()
    for result in results:
        assert np.array_equal(result[~hole], truth[~hole])
        assert (result[hole] != HOLE_COLOR).any(axis=1).mean() > 0.9
    assert not np.array_equal(results[0], results[1])
    return hole


@pytest.fixture
def visit(browser, request):
    """Return a function that opens a page as a new visitor, and fails the test if the page reaches elsewhere.

    At the end of the test what the visitors see is kept as a picture.
    """
    pages, problems = [], []
    test = re.sub(r"[^\w-]+", "-", request.node.name).strip("-")

    def open_page(address, view="desktop-light"):
        width, height, color_scheme = VIEWS[view]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=color_scheme, has_touch=view.startswith("phone")
        )
        page = context.new_page()
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
        page.wait_for_selector("#editor canvas")
        page.wait_for_timeout(1000)  # the canvas takes the picture, and its place on the page
        page.wait_for_function(CANVAS_FITS)
        page.wait_for_timeout(500)
        compare = ComparePage(page)
        compare.shown_run = compare.run_name()
        return compare

    yield open_page
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    for number, (view, page) in enumerate(pages, start=1):
        page.screenshot(path=ARTIFACTS / f"{test}-{number}-{view}.png", full_page=True)
        page.context.close()
    assert problems == []
