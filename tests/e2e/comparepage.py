"""The tab Compare as a visitor uses it."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

PATIENCE = 120_000  # milliseconds, on a loaded machine
INK = (236, 72, 120)  # the colour of the hole on the canvas
HOLE_COLOR = (123, 104, 117)  # and in the masked input
# The canvas has the picture, and the place on the page that it keeps.
CANVAS_IS_READY = """() => {
  const canvas = document.querySelector('#editor canvas');
  const place = canvas?.parentElement;
  return place && window.editor?.background_image && !place.style.width
    && Math.abs(canvas.clientWidth - place.clientWidth) < 2;
}"""
TAB_IS_SHOWN = """name => {
  const [panel, ...more] = [...document.querySelectorAll('[role=tabpanel]')].filter(part => part.checkVisibility());
  return document.querySelector('[role=tab][aria-selected=true]')?.innerText.trim() === name
    && panel && !more.length && !!panel.querySelector('#editor') === (name === 'Compare');
}"""
GIVE = """async ([event, content]) => {
  const files = new DataTransfer();
  const picture = await (await fetch(`data:image/png;base64,${content}`)).blob();
  files.items.add(new File([picture], 'photo.png', { type: 'image/png' }));
  const options = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(event === 'paste'
    ? new ClipboardEvent(event, { clipboardData: files, ...options })
    : new DragEvent(event, { dataTransfer: files, ...options }));
}"""
SOURCES = "() => [...document.querySelectorAll('.panels .picture img')].map(picture => picture.src)"


@dataclass
class ComparePage:
    """What a visitor does on the tab Compare."""

    page: object
    shown_run: str = ""
    """Name of the run that is shown."""

    def wait_for_canvas(self):
        """Wait until the canvas can be drawn on."""
        for _ in range(2):  # it may be moved once more
            self.page.wait_for_function(CANVAS_IS_READY)
            self.page.wait_for_timeout(300)

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
            self.page.mouse.move(*point, steps=3)
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
        """Go to another tab; the others' panels are hidden then."""
        self.page.get_by_role("tab", name=name).click()
        self.page.wait_for_function(TAB_IS_SHOWN, arg=name)

    def overflows(self):
        """Whether the page is wider than the window."""
        return self.page.evaluate("document.querySelector('.gradio-container').scrollWidth > innerWidth")

    def upload(self, image, file_format="PNG", name="photo.png", **options):
        """Choose a picture in the dialogue of the upload button."""
        content = io.BytesIO()
        image.save(content, format=file_format, **options)
        self.upload_bytes(content.getvalue(), name)

    def give(self, image, event, **options):
        """Paste or drop a picture onto the page: `event` is the name of what the browser says then."""
        content = io.BytesIO()
        image.save(content, format="PNG", **options)
        self.page.evaluate(GIVE, [event, base64.b64encode(content.getvalue()).decode()])

    def upload_bytes(self, content, name="photo.png", button="upload"):
        """Choose a file in the dialogue of a button."""
        file = {"name": name, "mimeType": "image/png", "buffer": content}
        self.page.set_input_files(f"input[type=file]:has(+ #{button})", file)

    def status(self):
        return self.page.inner_text("#status").strip()

    def wait_for_status(self, part):
        self.page.wait_for_function("part => document.getElementById('status').innerText.includes(part)", arg=part)

    def fetch(self, image):
        """Return the picture of an image of the page."""
        answer = self.page.request.get(image.evaluate("image => image.src"))
        assert answer.headers["content-type"] == "image/png"
        picture = Image.open(io.BytesIO(answer.body()))
        assert not picture.getexif()
        return np.asarray(picture)

    def pictures(self):
        """Return the panels' titles and pictures, fetched as bytes."""
        titles = [text.strip() for text in self.page.locator(".panels .picture label").all_inner_texts()]
        pictures = []
        for title, image in zip(titles, self.page.locator(".panels .picture img").all(), strict=True):
            assert image.get_attribute("alt") == title
            pictures.append(self.fetch(image))
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
