"""Below the results of the tab Compare: a slider between two of them, the features, and files to save."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from demo import comparison as runs
from demo import theme
from demo.comparison import TRUTH, Comparison
from demo.events import PRIVATE, QUICK, Updates, told
from demo.features import Observer
from demo.models import Contender
from medfe.errors import MedfeError


class Closer:
    """Components that look closer at one run; to be made inside a `gr.Blocks`.

    Args:
        contenders: the models.
        result: state that holds a visitor's run.
        status: line for what there is to tell.
        example: run that is shown when the page is opened.
    """

    def __init__(self, contenders: list[Contender], result: gr.State, status: gr.HTML, example: Comparison) -> None:
        self.contenders = contenders
        self.result = result
        self.status = status
        with gr.Accordion("Compare two, slide between them", open=False, elem_id="closer"):
            with gr.Row():
                titles, left, right = _first_two(example)
                self.left = gr.Dropdown(titles, value=left, label="Left", interactive=True)
                self.right = gr.Dropdown(titles, value=right, label="Right", interactive=True)
            self.slider = gr.ImageSlider(
                _pair(example, left, right),
                label="Slide",
                format="png",
                interactive=False,
                buttons=["fullscreen"],
                max_height=640,
                elem_id="slider",
            )
        with gr.Accordion("What the features see", open=False, elem_id="features") as self.features:
            gr.HTML(theme.FEATURES, padding=False)
            self.look = gr.Button("Show the features of this run", size="sm", elem_id="look")
            self.views = gr.Gallery(
                label="Each feature beside its target", columns=4, height="auto", object_fit="contain", format="png",
                interactive=False, allow_preview=False, buttons=[], visible=False, elem_id="views",
            )  # fmt: skip
        with gr.Accordion("Save as PNG", open=False, elem_id="save"):
            self.save = gr.Button("Prepare the files", size="sm")
            self.files = gr.Files(label="Grid, pictures and mask at full size", interactive=False, visible=False)
        self.components: list[Any] = [self.left, self.right, self.slider, self.views, self.files]
        self._connect()

    def _connect(self) -> None:
        for side in (self.left, self.right):
            side.input(self.slide, [self.left, self.right, self.result], [self.slider, self.status], **QUICK)
        slow = {**PRIVATE, "concurrency_limit": 1, "concurrency_id": "model", "show_progress_on": self.look}
        self.look.click(self.look_inside, self.result, [self.views, self.status], **slow)
        self.features.expand(self.look_when_ready, self.result, [self.views, self.status], **slow)
        self.save.click(self.prepare, self.result, [self.files, self.status], **PRIVATE)

    def cleared(self) -> Updates:
        """Return the components without a run."""
        return {
            self.left: gr.Dropdown(choices=[], value=None),
            self.right: gr.Dropdown(choices=[], value=None),
            self.slider: None,
            self.views: gr.Gallery(None, visible=False),
            self.files: gr.Files(None, visible=False),
        }

    def showing(self, result: Comparison) -> Updates:
        """Return the components with a new run: the first two results in the slider."""
        titles, left, right = _first_two(result)
        return {
            **self.cleared(),
            self.left: gr.Dropdown(choices=titles, value=left),
            self.right: gr.Dropdown(choices=titles, value=right),
            self.slider: _pair(result, left, right),
        }

    @told
    def slide(self, left: str | None, right: str | None, result: Comparison | None) -> Updates:
        """Put two pictures into the slider."""
        if result is None or not {left, right} <= set(result.pictures()):
            return {self.slider: None}
        return {self.slider: _pair(result, str(left), str(right))}

    def look_when_ready(self, result: Comparison | None) -> Updates:
        """Show the features as soon as their part of the page is opened, if there is a run to look into."""
        if result is None or result.blind:
            return {self.views: gr.Gallery(visible=False)}
        return self.look_inside(result)

    @told
    def look_inside(self, result: Comparison | None) -> Updates:
        """Show the features of a run beside their targets."""
        if result is None:
            raise MedfeError("there is nothing to look into yet: fill the hole first")
        if result.blind:
            raise MedfeError("the features would tell which model is which: pick a result first")
        picture, hole = Image.open(result.truth).convert("RGB"), np.asarray(Image.open(result.hole)) > 0
        views: list[tuple[Image.Image, str]] = []
        missing: list[str] = []
        for contender in self.contenders:
            try:
                pictures = self._observer(contender).views(picture, hole)
            except MedfeError as error:
                missing.append(f"{contender.title}: {self._without_folders(contender, str(error))}.")
                continue
            captions = [f"{contender.title}: {name.replace('_', ', ')}" for name in pictures._fields]
            views += zip(pictures, captions, strict=True)
        text = " ".join(missing) or "Features are shown below, each beside its target."
        return {
            self.views: gr.Gallery(views, visible=bool(views)),
            self.status: theme.status(text, error=bool(missing)),
        }

    @staticmethod
    def _without_folders(contender: Contender, text: str) -> str:
        """Leave out where the model's files lie: it is the server's business."""
        source = contender.inpainter.source
        return text if source is None else text.replace(f"{source.parent}{os.sep}", "")

    @functools.cache  # noqa: B019 - one object for the life of the server
    def _observer(self, contender: Contender) -> Observer:
        return Observer(contender)

    @told
    def prepare(self, result: Comparison | None) -> Updates:
        """Write the files to save."""
        if result is None:
            raise MedfeError("there is nothing to save yet: fill the hole first")
        return {self.files: gr.Files([str(path) for path in runs.downloads(result)], visible=True)}


def _first_two(result: Comparison) -> tuple[list[str], str, str]:
    """Return all titles, and those that the slider begins with: two models, or the only one and the ground truth."""
    titles = list(result.pictures())
    return titles, titles[2], titles[3] if len(titles) > 3 else TRUTH


def _pair(result: Comparison, left: str, right: str) -> tuple[Path | Image.Image, Path | Image.Image]:
    pictures = result.pictures()
    return runs.shown(pictures[left]), runs.shown(pictures[right])
