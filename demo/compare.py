"""The tab Compare: one picture, one hole, every model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import gradio as gr
import numpy as np
from PIL import Image

from demo import comparison as runs
from demo import holes, theme
from demo.comparison import MASKED, TRUTH, Comparison
from demo.features import Observer
from demo.models import Contender
from demo.pictures import VIEW_SIDE, Library, Picture, view_size
from medfe.data.images import resize
from medfe.data.masks import Mask
from medfe.errors import MedfeError

Updates: TypeAlias = dict[Any, Any]
"""Component → its new value; components left out stay as they are."""

PICTURES, DIFFERENCE = "Pictures", "Difference to ground truth"
NO_PREFERENCE = "No difference"
_PRIVATE: Mapping[str, Any] = {"api_visibility": "private", "queue": True}
_GROW = 0.015  # share of the canvas' longer side by which a hole grows or shrinks at a click
_HINT = "Draw over what should be replaced, or take a hole below the picture; then fill it."


def told(handler: Callable[..., Updates]) -> Callable[..., Updates]:
    """Show a visitor's mistake in the status line; nothing else on the page changes then."""

    @functools.wraps(handler)
    def wrapped(self: CompareTab, *arguments: Any) -> Updates:
        try:
            return handler(self, *arguments)
        except MedfeError as error:
            return {self.status: theme.status(_sentence(str(error)), error=True)}

    return wrapped


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


class CompareTab:
    """Components and what they do; to be made inside a `gr.Blocks`.

    Nothing that belongs to a visitor is kept in this object, which all visitors share: it is in `gr.State` alone.

    Args:
        contenders: the models, one panel each.
        library: the pictures offered.
        cache: folder that results are kept in.
    """

    def __init__(self, contenders: list[Contender], library: Library, cache: Path) -> None:
        self.contenders = contenders
        self.library = library
        self.cache = cache
        self.picture = gr.State(library.pictures[0])
        self.rule = gr.State("Centre")
        self.result = gr.State(None)
        with gr.Row(elem_classes="workbench", equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self._build_input()
            with gr.Column(scale=7, min_width=320):
                self._build_output()
        self._build_closer()
        self._connect()

    def _build_input(self) -> None:
        first = self.library.pictures[0].load()
        with gr.Row(elem_classes="pick"):
            self.samples = gr.Gallery(
                list(zip(self.library.thumbnails, [p.title for p in self.library.pictures], strict=True)),
                label="Choose a picture", columns=8, height="auto", allow_preview=False, object_fit="cover",
                buttons=[], elem_id="samples", interactive=False, format="png",
            )  # fmt: skip
        self.upload = gr.UploadButton(
            "Upload, drop or paste a photograph", size="md", file_types=["image"], elem_id="upload"
        )
        self.editor = holes.HoleEditor(
            holes.on_canvas(first), type="pil", format="png", label="Draw the hole", sources=(), transforms=(),
            layers=False, interactive=True, buttons=[], canvas_size=(VIEW_SIDE, VIEW_SIDE), height=460,
            brush=gr.Brush(default_size=48, colors=[f"rgb{holes.INK}"], color_mode="fixed"),
            eraser=gr.Eraser(default_size=48), elem_id="editor",
        )  # fmt: skip
        with gr.Row(elem_classes=["tools", "rules"]):
            self.rules = {name: gr.Button(name, size="sm", elem_id=f"rule-{name.lower()}") for name in holes.RULES}
            self.seed = gr.Number(1, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed")
        with gr.Row(elem_classes="tools"):
            self.changes = {name: gr.Button(name, size="sm") for name in ("Grow", "Shrink", "Invert", "Clear")}
            self.mask_file = gr.UploadButton("Mask file", size="sm", file_types=["image"], elem_id="mask-file")
        with gr.Row(elem_classes="run"):
            self.fill = gr.Button("Fill the hole", variant="primary", size="lg", elem_id="fill")
            self.blind = gr.Checkbox(False, label="Blind: hide the models' names", elem_id="blind")
        self.status = gr.HTML(theme.status(_HINT), elem_id="status", padding=False)

    def _build_output(self) -> None:
        first = self.library.pictures[0]
        with gr.Row(elem_classes="panels"):
            self.truth = _panel(TRUTH, _shown(first.load()))
            self.masked = _panel(MASKED)
            self.results: list[gr.Image] = []
            self.numbers: list[gr.HTML] = []
            for contender in self.contenders:
                with gr.Column(elem_classes="panel", min_width=120):
                    self.results.append(_image(contender.title))
                    self.numbers.append(gr.HTML("", elem_classes="numbers", padding=False))
        with gr.Row(elem_classes="below"):
            self.show = gr.Radio(
                [PICTURES, DIFFERENCE], value=PICTURES, show_label=False, container=False, elem_id="show"
            )
            self.scale = gr.HTML("", elem_id="scale", padding=False)
        self.verdict = gr.Radio([], label="Which result is better?", visible=False, elem_id="verdict")

    def _build_closer(self) -> None:
        with gr.Accordion("Compare two, slide between them", open=False, elem_id="closer"):
            with gr.Row():
                self.left = gr.Dropdown([], label="Left", interactive=True)
                self.right = gr.Dropdown([], label="Right", interactive=True)
            self.slider = gr.ImageSlider(
                label="Slide", format="png", interactive=False, buttons=["fullscreen"], max_height=640, elem_id="slider"
            )
        with gr.Accordion("What the features see", open=False, elem_id="features"):
            gr.HTML(theme.FEATURES, padding=False)
            self.look = gr.Button("Show the features of this run", size="sm", elem_id="look")
            self.views = gr.Gallery(
                label="Each feature beside its target", columns=4, height="auto", object_fit="contain", format="png",
                interactive=False, allow_preview=False, buttons=[], visible=False, elem_id="views",
            )  # fmt: skip
        with gr.Accordion("Save as PNG", open=False, elem_id="save"):
            self.save = gr.Button("Prepare the files", size="sm")
            self.files = gr.Files(label="Grid, pictures and mask at full size", interactive=False, visible=False)

    def _connect(self) -> None:
        shown = [self.truth, self.masked, *self.results, *self.numbers, self.show, self.scale, self.verdict]
        closer = [self.left, self.right, self.slider, self.views, self.files]
        chosen = [self.picture, self.editor, self.result, self.status, *shown, *closer]
        drawn = [self.editor, self.rule, self.status]
        quick = {**_PRIVATE, "show_progress": "hidden"}
        self.samples.select(self.choose, None, chosen, **quick)
        self.upload.upload(self.take_upload, self.upload, chosen, **_PRIVATE, show_progress_on=self.status)
        for name, button in self.rules.items():
            button.click(functools.partial(self.draw_rule, name), [self.picture, self.seed], drawn, **quick)
        self.seed.input(self.redraw, [self.rule, self.picture, self.seed], drawn, **quick)
        for name, button in self.changes.items():
            button.click(functools.partial(self.change, name), [self.picture, self.editor], drawn, **quick)
        self.mask_file.upload(self.take_mask, [self.mask_file, self.picture], drawn, **quick)
        self.fill.click(
            self.run, [self.picture, self.editor, self.blind], [self.result, self.status, *shown, *closer],
            **_PRIVATE, concurrency_limit=1, concurrency_id="model", show_progress_on=self.status,
        )  # fmt: skip
        self.show.input(self.switch, [self.show, self.result], [*self.results, self.scale], **quick)
        self.verdict.input(
            self.reveal, [self.verdict, self.result], [self.result, self.status, *shown, *closer], **quick
        )
        for side in (self.left, self.right):
            side.input(self.slide, [self.left, self.right, self.result], self.slider, **quick)
        self.look.click(
            self.look_inside, self.result, [self.views, self.status],
            **_PRIVATE, concurrency_limit=1, concurrency_id="model", show_progress_on=self.status,
        )  # fmt: skip
        self.save.click(self.prepare, self.result, [self.files, self.status], **_PRIVATE)

    def choose(self, event: gr.SelectData) -> Updates:
        """Take a picture that is offered."""
        return self._start(self.library.pictures[event.index])

    @told
    def take_upload(self, file: str) -> Updates:
        """Take an uploaded picture."""
        return self._start(Picture("The upload", path=Path(file)))

    def _start(self, picture: Picture) -> Updates:
        try:
            image = picture.load()
        except MedfeError as error:
            return {self.status: theme.status(_sentence(str(error)), error=True)}
        return {
            self.picture: picture,
            self.editor: holes.on_canvas(image),
            self.result: None,
            self.status: theme.status(f"{picture.title}, {_pixels(image.size)}. {_HINT}"),
            self.truth: _shown(image),
            self.masked: None,
            **{
                component: gr.Image(None, label=contender.title)
                for component, contender in zip(self.results, self.contenders, strict=True)
            },
            **dict.fromkeys(self.numbers, ""),
            self.show: PICTURES,
            self.scale: "",
            self.verdict: gr.Radio(visible=False),
            self.left: gr.Dropdown(choices=[], value=None),
            self.right: gr.Dropdown(choices=[], value=None),
            self.slider: None,
            self.views: gr.Gallery(None, visible=False),
            self.files: gr.Files(None, visible=False),
        }

    @told
    def draw_rule(self, rule: str, picture: Picture, seed: float | None) -> Updates:
        """Put a generated hole on the canvas."""
        image = picture.load()
        return self._put(image, holes.by_rule(rule, image.size, int(seed or 0))) | {self.rule: rule}

    @told
    def redraw(self, rule: str, picture: Picture, seed: float | None) -> Updates:
        """Put the hole of another seed on the canvas."""
        image = picture.load()
        return self._put(image, holes.by_rule(rule, image.size, int(seed or 0)))

    @told
    def take_mask(self, file: str, picture: Picture) -> Updates:
        """Put the hole of a mask file on the canvas."""
        image = picture.load()
        return self._put(image, holes.from_file(Path(file), "The mask file", image.size))

    @told
    def change(self, name: str, picture: Picture, drawn: Mask | None) -> Updates:
        """Grow, shrink, invert or clear the hole on the canvas."""
        image = picture.load()
        if name == "Clear":
            return {self.editor: holes.on_canvas(image), self.status: theme.status(_HINT)}
        hole = holes.from_canvas(drawn, image.size) if drawn is None else drawn
        step = max(1, round(_GROW * max(hole.shape)))
        changed = ~hole if name == "Invert" else holes.grown(hole, step if name == "Grow" else -step)
        return self._put(image, changed)

    def _put(self, image: Image.Image, hole: Mask) -> Updates:
        return {
            self.editor: holes.on_canvas(image, hole),
            self.status: theme.status(f"The hole is {100 * hole.mean():.1f} % of the picture."),
        }

    @told
    def run(
        self,
        picture: Picture,
        drawn: Mask | None,
        blind: bool,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Updates:
        """Fill the hole with every model and show what came out."""
        image = picture.load()
        hole = holes.from_canvas(drawn, image.size)
        if not hole.any():
            raise MedfeError("there is no hole yet: draw one on the picture, or take one of those below it")
        if hole.all():
            raise MedfeError("the hole covers the whole picture: leave something for the models to go by")
        count = len(self.contenders)
        result = runs.compare(
            image, hole, self.contenders, self.cache, blind=blind,
            progress=lambda done, title: progress((done, count), desc=title),
        )  # fmt: skip
        text = f"The hole is {100 * result.share:.1f} % of {_pixels(image.size)}."
        if view_size(image.size) != image.size:
            text += f" Shown and measured at {_pixels(view_size(image.size))}; the files to save have every pixel."
        side = max(contender.inpainter.image_size for contender in self.contenders)
        if max(image.size) > 1.5 * side:
            text += f" Models fill the hole at {side}×{side} pixels, then it is enlarged."
        return self._present(result, text)

    def _present(self, result: Comparison, text: str) -> Updates:
        titles = list(result.pictures())
        left, right = titles[2], titles[3] if len(titles) > 3 else TRUTH
        return {
            self.result: result,
            self.status: theme.status(text),
            self.truth: runs.shown(result.truth),
            self.masked: runs.shown(result.masked),
            **{
                component: gr.Image(runs.shown(panel.file), label=title)
                for component, panel, title in zip(self.results, result.panels, result.titles(), strict=True)
            },
            **{
                component: "" if result.blind else theme.numbers(panel.l1, panel.psnr, panel.ssim, panel.milliseconds)
                for component, panel in zip(self.numbers, result.panels, strict=True)
            },
            self.show: PICTURES,
            self.scale: "",
            self.verdict: gr.Radio([*result.titles(), NO_PREFERENCE], value=None, visible=result.blind),
            self.left: gr.Dropdown(choices=titles, value=left),
            self.right: gr.Dropdown(choices=titles, value=right),
            self.slider: self.slide(left, right, result),
            self.views: gr.Gallery(None, visible=False),
            self.files: gr.Files(None, visible=False),
        }

    def switch(self, show: str, result: Comparison | None) -> Updates:
        """Show the results, or their differences to the ground truth."""
        if result is None:
            return {self.scale: ""}
        if show == PICTURES:
            pictures = [runs.shown(panel.file) for panel in result.panels]
            return {self.scale: "", **dict(zip(self.results, pictures, strict=True))}
        pictures, end = runs.differences(result)
        return {
            self.scale: theme.difference_scale(runs.scale_colors(), end),
            **dict(zip(self.results, pictures, strict=True)),
        }

    def reveal(self, picked: str, result: Comparison | None) -> Updates:
        """Name the results of a blind comparison, once the visitor has picked one."""
        if result is None or not result.blind:
            return {self.verdict: gr.Radio(visible=False)}
        if picked in result.titles():
            text = f"You picked {picked}: it is {result.panels[result.titles().index(picked)].title}."
        else:
            text = "You saw no difference; the names are shown now."
        return self._present(result.named(), text)

    def slide(self, left: str | None, right: str | None, result: Comparison | None) -> Any:
        """Return two pictures for the slider."""
        pictures = {} if result is None else result.pictures()
        if left not in pictures or right not in pictures:
            return None
        return runs.shown(pictures[left]), runs.shown(pictures[right])

    @told
    def look_inside(self, result: Comparison | None) -> Updates:
        """Show the features of a run beside their targets."""
        if result is None:
            raise MedfeError("there is nothing to look into yet: fill the hole first")
        if result.blind:
            raise MedfeError("the features would tell which model is which: pick a result first")
        picture, hole = Image.open(result.truth).convert("RGB"), np.asarray(Image.open(result.hole)) > 0
        views: list[tuple[Image.Image, str]] = []
        told: list[str] = []
        for contender in self.contenders:
            try:
                pictures = self._observer(contender).views(picture, hole)
            except MedfeError as error:
                told.append(f"{contender.title}: {error}.")
                continue
            captions = [f"{contender.title}: {name.replace('_', ', ')}" for name in pictures._fields]
            views += zip(pictures, captions, strict=True)
        text = " ".join(told) or "Features are shown below, each beside its target."
        return {self.views: gr.Gallery(views, visible=bool(views)), self.status: theme.status(text, error=bool(told))}

    @functools.cache  # noqa: B019 - one object for the life of the server
    def _observer(self, contender: Contender) -> Observer:
        return Observer(contender)

    @told
    def prepare(self, result: Comparison | None) -> Updates:
        """Write the files to save."""
        if result is None:
            raise MedfeError("there is nothing to save yet: fill the hole first")
        return {self.files: gr.Files([str(path) for path in runs.downloads(result)], visible=True)}


def _panel(title: str, value: Image.Image | None = None) -> gr.Image:
    with gr.Column(elem_classes="panel", min_width=120):
        return _image(title, value)


def _image(title: str, value: Image.Image | None = None) -> gr.Image:
    return gr.Image(
        value, label=title, alt_text=title, format="png", interactive=False, buttons=["download", "fullscreen"],
        elem_classes="picture",
    )  # fmt: skip


def _shown(image: Image.Image) -> Image.Image:
    return resize(image, view_size(image.size))


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]} pixels"
