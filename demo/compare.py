"""The tab Compare: one picture, one hole, every model."""

from __future__ import annotations

import functools
from pathlib import Path

import gradio as gr
from PIL import Image

from demo import comparison as runs
from demo import holes, theme
from demo.closer import Closer
from demo.comparison import MASKED, TRUTH, Comparison, Panel
from demo.events import PRIVATE, QUICK, Updates, told
from demo.models import Contender
from demo.pictures import VIEW_SIDE, Library, Picture, view_size
from demo.script import DRAWING
from medfe.data.images import resize
from medfe.data.masks import Mask
from medfe.errors import MedfeError

PICTURES, DIFFERENCE = "Pictures", "Difference to ground truth"
NO_PREFERENCE = "No difference"
_GROW = 0.015  # share of the canvas' longer side by which a hole grows or shrinks at a click
_HINT = "Draw over what should be replaced, or take a hole below the picture; then fill it."
_SEED = 2  # of the rules: no hole of it is tiny
_EXAMPLE = ("Brush", 8)  # rule and seed of the hole that is filled when the page is opened


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
        self.example = self._fill_example()
        self.picture = gr.State(library.pictures[0])
        self.rule = gr.State("Centre")
        self.result = gr.State(self.example)
        with gr.Row(elem_classes="workbench", equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self._build_input()
            with gr.Column(scale=7, min_width=320):
                self._build_output()
        self.closer = Closer(contenders, self.result, self.status, self.example)
        self._connect()

    def _fill_example(self) -> Comparison:
        """Fill a hole of the first picture, for the page to open with; the first visitor finds the models warm then."""
        image = self.library.pictures[0].load()
        rule, seed = _EXAMPLE
        hole = holes.by_rule(rule, image.size, seed)
        runs.rehearse(self.contenders, self.cache)
        return runs.compare(image, hole, self.contenders, self.cache)

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
        self.editor = holes.Canvas(
            holes.on_canvas(first), type="pil", format="png", label="Draw the hole", sources=(), transforms=(),
            layers=False, interactive=True, buttons=[], canvas_size=(VIEW_SIDE, VIEW_SIDE), height=460,
            brush=gr.Brush(default_size=48, colors=[f"rgb{holes.INK}"], color_mode="fixed"),
            eraser=gr.Eraser(default_size=48), elem_id="editor",
        )  # fmt: skip
        self.drawing = gr.Textbox(visible=False, elem_id="drawing")  # filled by the browser when it is asked for
        with gr.Row(elem_classes=["tools", "rules"]):
            self.rules = {name: gr.Button(name, size="sm", elem_id=f"rule-{name.lower()}") for name in holes.RULES}
            self.seed = gr.Number(_SEED, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed")
        with gr.Row(elem_classes="tools"):
            self.changes = {name: gr.Button(name, size="sm") for name in ("Grow", "Shrink", "Invert", "Clear")}
            self.mask_file = gr.UploadButton("Mask file", size="sm", file_types=["image"], elem_id="mask-file")
        with gr.Row(elem_classes="run"):
            self.fill = gr.Button("Fill the hole", variant="primary", size="lg", elem_id="fill")
            self.blind = gr.Checkbox(False, label="Blind: hide the models' names", elem_id="blind")
        self.status = gr.HTML(
            theme.status(f"An example is shown. {_HINT}", run=self.example.name), elem_id="status", padding=False
        )

    def _build_output(self) -> None:
        with gr.Row(elem_classes="panels"):
            self.truth = _panel(TRUTH, self.example.truth)
            self.masked = _panel(MASKED, self.example.masked)
            self.results: list[gr.Image] = []
            self.numbers: list[gr.HTML] = []
            for panel in self.example.panels:
                with gr.Column(elem_classes="panel", min_width=120):
                    self.results.append(_image(panel.title, panel.file))
                    self.numbers.append(gr.HTML(_numbers(panel), elem_classes="numbers", padding=False))
        with gr.Row(elem_classes="below"):
            self.show = gr.Radio(
                [PICTURES, DIFFERENCE], value=PICTURES, show_label=False, container=False, elem_id="show"
            )
            self.scale = gr.HTML("", elem_id="scale", padding=False)
        self.verdict = gr.Radio([], label="Which result is better?", visible=False, elem_id="verdict")

    def _connect(self) -> None:
        shown = [self.truth, self.masked, *self.results, *self.numbers, self.show, self.scale, self.verdict]
        closer = self.closer.components
        chosen = [self.picture, self.editor, self.result, self.status, *shown, *closer]
        drawn = [self.editor, self.rule, self.status]
        # Progress is shown on the status line: the canvas is not to be told, for it answers with all its pictures.
        quick = {**QUICK, "show_progress_on": self.status}
        self.samples.select(self.choose, None, chosen, **quick)
        self.upload.upload(self.take_upload, self.upload, chosen, **PRIVATE, show_progress_on=self.status)
        for name, button in self.rules.items():
            button.click(functools.partial(self.draw_rule, name), [self.picture, self.seed], drawn, **quick)
        self.seed.input(self.redraw, [self.rule, self.picture, self.seed], drawn, **quick)
        for name, button in self.changes.items():
            button.click(
                functools.partial(self.change, name), [self.picture, self.drawing], drawn, js=DRAWING, **quick
            )  # fmt: skip
        self.mask_file.upload(self.take_mask, [self.mask_file, self.picture], drawn, **quick)
        self.fill.click(
            self.run, [self.picture, self.drawing, self.blind], [self.result, self.status, *shown, *closer],
            js=DRAWING, **PRIVATE, concurrency_limit=1, concurrency_id="model", show_progress_on=self.status,
        )  # fmt: skip
        self.show.input(self.switch, [self.show, self.result], [*self.results, self.scale, self.status], **QUICK)
        self.verdict.input(
            self.reveal, [self.verdict, self.result], [self.result, self.status, *shown, *closer], **QUICK
        )

    @told
    def choose(self, event: gr.SelectData) -> Updates:
        """Take a picture that is offered."""
        return self._start(self.library.pictures[event.index])

    @told
    def take_upload(self, file: str) -> Updates:
        """Take an uploaded picture."""
        return self._start(Picture("The upload", path=Path(file)))

    def _start(self, picture: Picture) -> Updates:
        image = picture.load()
        return {
            self.picture: picture,
            self.editor: holes.on_canvas(image),
            self.result: None,
            self.status: theme.status(f"{picture.title}, {_pixels(image.size)}. {_HINT}"),
            self.truth: resize(image, view_size(image.size)),
            self.masked: None,
            **{
                component: gr.Image(None, label=contender.title, alt_text=contender.title)
                for component, contender in zip(self.results, self.contenders, strict=True)
            },
            **dict.fromkeys(self.numbers, ""),
            self.show: PICTURES,
            self.scale: "",
            self.verdict: gr.Radio(visible=False),
            **self.closer.cleared(),
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
    def change(self, name: str, picture: Picture, drawing: str | None) -> Updates:
        """Grow, shrink, invert or clear the hole on the canvas."""
        image = picture.load()
        if name == "Clear":
            return {self.editor: holes.on_canvas(image), self.status: theme.status(_HINT)}
        drawn = holes.read_drawing(drawing)
        hole = holes.from_canvas(None, image.size) if drawn is None else drawn
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
        drawing: str | None,
        blind: bool,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Updates:
        """Fill the hole with every model and show what came out."""
        image = picture.load()
        hole = holes.from_canvas(holes.read_drawing(drawing), image.size)
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
        return {
            self.result: result,
            self.status: theme.status(text, run=result.name),
            self.truth: runs.shown(result.truth),
            self.masked: runs.shown(result.masked),
            **{
                component: gr.Image(runs.shown(panel.file), label=title, alt_text=title)
                for component, panel, title in zip(self.results, result.panels, result.titles(), strict=True)
            },
            **{
                component: "" if result.blind else _numbers(panel)
                for component, panel in zip(self.numbers, result.panels, strict=True)
            },
            self.show: PICTURES,
            self.scale: "",
            self.verdict: gr.Radio([*result.titles(), NO_PREFERENCE], value=None, visible=result.blind),
            **self.closer.showing(result),
        }

    @told
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

    @told
    def reveal(self, picked: str, result: Comparison | None) -> Updates:
        """Name the results of a blind comparison, once the visitor has picked one."""
        if result is None or not result.blind:
            return {self.verdict: gr.Radio(visible=False)}
        if picked in result.titles():
            text = f"You picked {picked}: it is {result.panels[result.titles().index(picked)].title}."
        else:
            text = "You saw no difference; the names are shown now."
        return self._present(result.named(), text)


def _panel(title: str, file: Path) -> gr.Image:
    with gr.Column(elem_classes="panel", min_width=120):
        return _image(title, file)


def _image(title: str, file: Path) -> gr.Image:
    return gr.Image(
        runs.shown(file), label=title, alt_text=title, format="png", interactive=False,
        buttons=["download", "fullscreen"], elem_classes="picture",
    )  # fmt: skip


def _numbers(panel: Panel) -> str:
    return theme.numbers(panel.l1, panel.psnr, panel.ssim, panel.milliseconds)


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]} pixels"
