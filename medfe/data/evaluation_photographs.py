"""Photographs to evaluate on: central squares, and random crops at their own resolution."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from medfe.config import DataConfig
from medfe.data.files import Split, list_photographs, shuffled
from medfe.data.images import center_square, check_header, load_image, resize, to_tensor
from medfe.errors import MedfeError

_log = logging.getLogger(__name__)


class EvaluationPhotographs(Dataset[dict[str, Any]]):
    """Central squares of a folder's photographs, resized to S×S, in sorted order; nothing is random.

    Every file is decoded once at the start, so that all methods are judged on the same images; damaged ones are
    skipped and reported.

    Items: `image` float32 3×S×S in [-1, 1]; `path` str.

    Args:
        root: folder of images.
        image_size: S, pixels.
        part: part of the folder, as in `list_photographs`.
        layout: `folder` or `celeba`.
        limit: at most so many photographs, chosen by the hash of their names (see `shuffled`), not the first ones.

    Attributes:
        paths: the photographs.
        unreadable: files that were skipped.

    Raises:
        MedfeError: no photographs.
    """

    def __init__(
        self,
        root: str | Path,
        image_size: int,
        *,
        part: Split = "all",
        layout: str = "folder",
        limit: int | None = None,
    ) -> None:
        config = DataConfig.model_validate({"root": root, "layout": layout, "split": part})
        self.image_size = image_size
        candidates = list_photographs(config)
        limit = len(candidates) if limit is None else limit
        self.paths: list[Path] = []
        self.unreadable: list[Path] = []
        for path in shuffled(candidates, config.root):
            if len(self.paths) == limit:
                break
            try:
                load_image(path)
                self.paths.append(path)
            except MedfeError as error:
                self.unreadable.append(path)
                _log.warning("skipped: %s", error)
        if not self.paths:
            raise MedfeError(f"{root}: none of {len(candidates)} images can be read")
        self.paths.sort()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        photograph = resize(center_square(load_image(self.paths[index])), self.image_size)
        return {"image": to_tensor(photograph), "path": str(self.paths[index])}

    def random_crops(self, n: int, seed: int = 0) -> PhotographCrops:
        """Return `n` crops S×S at the photographs' own resolution, spread evenly over them.

        Raises:
            MedfeError: no photograph is S pixels wide and high.
        """
        return PhotographCrops(self.paths, self.image_size, n, seed)


class PhotographCrops(Dataset[dict[str, Any]]):
    """Random crops of photographs at native resolution.

    Of k photographs, crop i is of photograph i mod k, at a place drawn from (seed, i). Crops of one photograph are not
    independent; statistics group them by `photograph`.

    Items: `image` float32 3×S×S in [-1, 1]; `path` str; `photograph` int, index into `paths`.

    Attributes:
        paths: photographs of at least S×S; smaller ones are left out.
    """

    def __init__(self, paths: list[Path], image_size: int, n: int, seed: int) -> None:
        self.paths = [path for path in paths if min(check_header(path)) >= image_size]
        if not self.paths:
            raise MedfeError(f"none of {len(paths)} photographs is at least {image_size}×{image_size}")
        self.image_size = image_size
        self.n = n
        self.seed = seed

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.n:
            raise IndexError(index)
        photograph = index % len(self.paths)
        image: Image.Image = load_image(self.paths[photograph])
        rng = np.random.default_rng((self.seed, index))
        left, top = (int(rng.integers(side - self.image_size + 1)) for side in image.size)
        crop = image.crop((left, top, left + self.image_size, top + self.image_size))
        return {"image": to_tensor(crop), "path": str(self.paths[photograph]), "photograph": photograph}
