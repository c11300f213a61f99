"""A real server with two untrained models, and a real browser in front of it."""

import contextlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

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
PATIENCE = 60_000  # milliseconds, on a loaded machine
CANVAS_FITS = """() => {
  const canvas = document.querySelector('#editor canvas');
  return canvas && Math.abs(canvas.clientWidth - canvas.parentElement.clientWidth) < 2;
}"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(*arguments):
    """Run `python -m demo` and yield its address; it must write into its cache alone and clear that away at its end."""
    command = [sys.executable, "-m", "demo", "--port", str(free_port()), *map(str, arguments)]
    temporary = Path(tempfile.mkdtemp())
    environment = os.environ | {"TMPDIR": str(temporary)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        lines = iter(process.stdout.readline, "")
        address = next((word for line in lines for word in line.split() if word.startswith("http://")), None)
        assert address, f"the server ended with code {process.wait()}"
        yield address
    finally:
        process.terminate()
        process.wait(30)
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
def address(run_folders):
    """Where the page of the two models is served."""
    with running("--no-shipped", "--models", *run_folders, "--max-upload-mb", 4) as served:
        yield served


@pytest.fixture(scope="session")
def shipped_address():
    """Where the page of the shipped models is served."""
    if not {"faces128/low_resolution", "faces128/autoencoder"} <= set(shipped_models()):
        pytest.skip("found no weights of faces128 in the package")
    with running() as served:
        yield served


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

    def stroke(self, *points):
        """Draw on the canvas; points are shares of the picture's width and height on the canvas, from its middle."""
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

    def fill(self):
        """Press the button and wait for the measured results."""
        self.page.click("#fill")
        self.page.wait_for_selector(".numbers dl")

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
        for image in self.page.locator(".panels .picture img").all():
            answer = self.page.request.get(image.evaluate("image => image.src"))
            assert answer.headers["content-type"] == "image/png"
            pictures.append(np.asarray(Image.open(io.BytesIO(answer.body()))))
        return dict(zip(titles, pictures, strict=True))


@pytest.fixture
def visit(browser):
    """Return a function that opens a page as a new visitor, and fails the test if the page reaches elsewhere."""
    contexts, problems = [], []

    def open_page(address, width=1280, height=1000, color_scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=color_scheme)
        contexts.append(context)
        page = context.new_page()
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
        return ComparePage(page)

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
