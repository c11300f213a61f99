"""Making a study: fill the holes with every method, freeze the pictures, write definition and database."""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from medfe.config import DataConfig
from medfe.data.files import Split, list_photographs
from medfe.data.masks import HoleColor, area_bin
from medfe.errors import MedfeError
from medfe.evaluation.methods import Method, load_method, load_methods
from medfe.evaluation.protocol import batches, choose_size
from medfe.evaluation.provenance import shown, source
from medfe.evaluation.testset import TestSet
from medfe.preference.database import check_empty, database_url
from medfe.preference.definition import Design, Item, Study, StudyMethod
from medfe.preference.folder import STUDY_FILE, check_new, save_picture, save_study
from medfe.preference.store import VoteStore

BAD_FILLING = "mean_fill"
"""Method of the bad pictures of catch and practice trials."""
LEAST_DIFFERENCE = 2.0
"""Mean absolute difference to the photograph, grey levels over the whole picture, from which a filling is visibly bad:
the smallest hole, 1 % of the picture, would have to be off by 200 of 255."""
_CANDIDATES = 2  # pictures looked at for each catch and practice trial; the worst filled ones are taken
_BATCH = 16


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of a study come from.

    Attributes:
        methods: Methods under test (see `medfe.evaluation.methods.load_methods`); the first two are the primary pair.
        data: Folder of photographs.
        masks: A kind of mask, `irregular`, or a folder of mask files.
        n: Number of pictures; those of catch and practice trials are taken from further photographs.
        image_size: Side, pixels; default: the models' own.
        hole: Colour of the hole in mask files.
        resize_masks: Resize mask files of another size.
        device: Where models compute.
        layout: `folder` or `celeba`.
        split: Part of the folder, as in `medfe.data.files.list_photographs`.
    """

    methods: Sequence[str]
    data: Path
    masks: str
    n: int
    image_size: int | None = None
    hole: HoleColor = "white"
    resize_masks: bool = False
    device: str | None = None
    layout: Literal["folder", "celeba"] = "folder"
    split: Split = "all"


def create_study(pictures: Pictures, design: Design, out: Path, database: str | None = None) -> Study:
    """Make a study's folder and database: the pictures, the definition, which names them, and then the database.

    Args:
        pictures: Where the pictures come from.
        design: What raters are asked, and how often.
        out: Folder of the study, new or without one.
        database: URL of the votes' database; default: SQLite in the folder.

    Raises:
        MedfeError: bad settings, too few photographs, a method that fails, a full disk, or a folder or database that
            holds a study; a definition without a database is taken back.
    """
    check_new(out)
    url = database_url(out, database)
    check_empty(url)
    if design.main_trials > pictures.n:
        raise MedfeError(
            f"n: found {pictures.n} pictures, expected at least {design.main_trials}, the main trials of a rater, so "
            "that no rater sees one twice; fewer --trials have fewer of them"
        )
    methods = load_methods(pictures.methods, pictures.device)
    _check_methods(methods, design)
    size = choose_size(methods, pictures.image_size)
    wanted = design.catches + design.practice
    needed = pictures.n + _CANDIDATES * wanted
    photographs = DataConfig(root=pictures.data, layout=pictures.layout, split=pictures.split)
    if (found := len(list_photographs(photographs))) < needed:
        raise MedfeError(
            f"{pictures.data}: found {found} photographs, expected at least {needed}: {pictures.n} to compare, and "
            f"{_CANDIDATES * wanted} to choose {design.catches} catch and {design.practice} practice trials from"
        )
    testset = TestSet(pictures.data, size, needed, part=pictures.split, layout=pictures.layout, seed=design.seed)
    testset.draw_masks(pictures.masks, 1, design.seed, hole=pictures.hole, resize=pictures.resize_masks)
    # Photographs are sorted by name, and names may follow age or date.
    order = np.random.default_rng(design.seed).permutation(needed)
    items = _items(out, testset, sorted(order[: pictures.n].tolist()), methods, design.seed)
    bad = _visibly_bad(out, testset, order[pictures.n :].tolist(), wanted)
    study = Study(
        design=design,
        methods=tuple(StudyMethod(name=m.name, source=source(m.source), digest=m.digest) for m in methods),
        items=tuple(items),
        catches=tuple(bad[: design.catches]),
        practice=tuple(bad[design.catches :]),
        image_size=size,
        masks=source(pictures.masks),
        data=", ".join([shown(pictures.data), *_part(pictures)]),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    save_study(out, study)
    try:
        VoteStore.create(url, study).close()
    except BaseException:
        (out / STUDY_FILE).unlink()  # so that the same command can be given again
        raise
    return study


def _part(pictures: Pictures) -> list[str]:
    """Return layout and part of the folder as far as they say anything."""
    return [word for word in (pictures.layout, pictures.split) if word not in ("folder", "all")]


def _check_methods(methods: Sequence[Method], design: Design) -> None:
    if len(methods) < 2:
        raise MedfeError(f"methods: found {len(methods)}, expected at least 2 to compare")
    for field in ("title", "instructions", "consent", "consent_version"):
        for method in methods:
            if re.search(rf"(?<!\w){re.escape(method.name)}(?!\w)", getattr(design, field), re.IGNORECASE):
                raise MedfeError(f"{field}: names the method {method.name!r}, which raters must not know")


def _items(folder: Path, testset: TestSet, chosen: list[int], methods: Sequence[Method], seed: int) -> Iterator[Item]:
    """Save and yield the items of the main trials."""
    groups = [[chosen[place] for place in batch] for batch in batches(len(chosen), _BATCH)]
    for group in track(groups, "filling holes", console=Console(stderr=True), transient=True):
        parts = [testset.batch(range(place, place + 1)) for place in group]
        images, masks = torch.cat([part.images for part in parts]), torch.cat([part.masks for part in parts])
        with torch.random.fork_rng(devices=[]):  # a method that draws at random draws the same when it is run again
            torch.manual_seed(seed + group[0])
            filled = [method(images, masks) for method in methods]
        for row, place in enumerate(group):
            yield _item(folder, testset, place, images[row], [pictures[row] for pictures in filled])


def _visibly_bad(folder: Path, testset: TestSet, candidates: list[int], number: int) -> list[Item]:
    """Return the candidates whose bad filling differs most from the photograph, in the order they were given."""
    method = load_method(BAD_FILLING, BAD_FILLING)
    pictures = {}
    for place in candidates:
        batch = testset.batch(range(place, place + 1))
        pictures[place] = batch.images[0], method(*batch)[0]
    difference = {place: float((a.float() - b.float()).abs().mean()) for place, (a, b) in pictures.items()}
    worst = sorted(candidates, key=lambda place: -difference[place])[:number]
    if worst and difference[worst[-1]] < LEAST_DIFFERENCE:
        raise MedfeError(
            f"catch and practice trials: found a bad filling only {difference[worst[-1]]:.1f} grey levels off the "
            f"photograph, expected at least {LEAST_DIFFERENCE:g}, to be visible; give larger masks or more photographs"
        )
    taken = [place for place in candidates if place in worst]
    return [_item(folder, testset, place, pictures[place][0], [pictures[place][1]]) for place in taken]


def _item(folder: Path, testset: TestSet, place: int, original: Tensor, fills: Sequence[Tensor]) -> Item:
    mask = testset.mask(place)
    return Item(
        photograph=testset.names[place],
        mask_area=float(mask.mean()),
        area_bin=area_bin(mask),
        original=save_picture(folder, encode(original)),
        fills=tuple(save_picture(folder, encode(fill)) for fill in fills),
    )


def encode(picture: Tensor) -> bytes:
    """Return a uint8 3×H×W picture as PNG without compression: equal sizes, so that a size tells nothing."""
    buffer = io.BytesIO()
    Image.fromarray(picture.movedim(0, -1).numpy()).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()
