"""Folders of photographs as data sets: training samples here, and what is evaluated on."""

from __future__ import annotations

import functools
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from medfe.config import DataConfig
from medfe.data.evaluation_photographs import EvaluationPhotographs, PhotographCrops
from medfe.data.files import find_images, list_photographs, readable, split
from medfe.data.images import center_square, load_image, resize, to_tensor
from medfe.data.jitter import jitter_colors
from medfe.data.masks import GeneratedMasks, MaskFolder, MaskSource, mask_to_tensor
from medfe.errors import MedfeError

__all__ = [
    "EvaluationPhotographs", "PhotographCrops", "TrainingSamples", "find_images", "list_photographs", "split",
    "worker_init",
]  # fmt: skip

Photograph = NDArray[np.uint8]
StructureOf = Callable[[Path, Photograph], NDArray[Any]]
"""(file, uint8 H×W×3) → its structure image H×W×3, uint8, or float in [0, 1]."""

CACHE_BYTES = 1 << 30
"""Memory for prepared photographs, shared by the workers of a data loader, bytes."""

_log = logging.getLogger(__name__)


def worker_init(worker: int) -> None:  # noqa: ARG001  # the signature that DataLoader asks for
    """Keep a data loader's worker to its own core, and leave Ctrl-C and the request to end to the main process.

    A worker that ended by itself would raise an error in the main process amid whatever that does.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class TrainingSamples(Dataset[dict[str, Tensor]]):
    """Random squares of photographs with masks; a sample depends on (seed, position) and the files alone.

    Position p is image p mod n of a permutation drawn from (seed, p div n); its crop, flip, mask and
    colours are drawn from (seed, p). A loader therefore walks the positions in order and resumes at any of them.

    Items: `image` float32 3×S×S in [-1, 1]; `mask` float32 1×S×S, 1 = hole (if `with_masks`); `structure` float32
    3×S×S in [-1, 1] (if `structure` is given), cropped, flipped and coloured like the image.

    Prepared photographs (before crop and flip) are kept in memory, the first that fit `cache_bytes`.

    Args:
        config: photographs, crop, flip and masks.
        image_size: S, side of the square, pixels.
        seed: of order, crops, flips, colours and masks.
        length: number of samples, over all epochs together.
        with_masks: add masks.
        structure: gives the structure image of a prepared photograph: for `center` the S×S square, for `random` the
            whole photograph with its shorter side resized to round(config.resize·S).
        cache_bytes: memory of the cache, divided among the workers.

    Attributes:
        paths: the photographs with readable headers, sorted.
        unreadable: the others. A file that turns out to be damaged later is replaced by the next one, and reported.

    Raises:
        MedfeError: no photographs.
    """

    def __init__(
        self,
        config: DataConfig,
        image_size: int,
        seed: int,
        length: int,
        *,
        with_masks: bool = True,
        structure: StructureOf | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.config = config
        self.image_size = image_size
        self.seed = seed
        self.length = length
        self.structure = structure
        self.cache_bytes = cache_bytes
        self.paths, self.unreadable = readable(list_photographs(config))
        self.masks: MaskSource | None = None
        if with_masks:
            self.masks = (
                MaskFolder(config.mask_dir, config.mask_hole)
                if config.mask_dir is not None
                else GeneratedMasks(config.center_share)
            )
        self._cache: dict[int, tuple[Photograph, ...]] = {}
        self._cached_bytes = 0
        self._damaged: set[int] = set()
        self._order = functools.lru_cache(maxsize=2)(self._permutation)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        if not 0 <= position < self.length:
            raise IndexError(position)
        epoch, place = divmod(position, len(self.paths))
        images = self._prepared_or_next(int(self._order(epoch)[place]))
        rng = np.random.default_rng((self.seed, position))
        window = self._window(images[0].shape, rng)
        mirrored = self.config.flip and rng.random() < 0.5
        tensors = [to_tensor(image[window][:, ::-1] if mirrored else image[window]) for image in images]
        if self.config.color_jitter:
            # Not drawn from rng: with jitter or without, crop, flip and mask are the same.
            tensors = jitter_colors(tensors, self.config.color_jitter, np.random.default_rng((self.seed, position, 2)))
        sample = dict(zip(("image", "structure"), tensors, strict=False))
        if self.masks is not None:
            sample["mask"] = mask_to_tensor(self.masks.mask(self.image_size, rng))
        return sample

    def __getstate__(self) -> dict[str, Any]:  # for workers that are spawned
        return {**self.__dict__, "_cache": {}, "_cached_bytes": 0, "_order": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._order = functools.lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        # The third number keeps this stream apart from that of the sample whose position equals the epoch.
        return np.random.default_rng((self.seed, epoch, 1)).permutation(len(self.paths))

    def _window(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
        size = self.image_size
        if self.config.crop == "center":
            return slice(0, size), slice(0, size)
        top, left = (int(rng.integers(side - size + 1)) for side in shape[:2])
        return slice(top, top + size), slice(left, left + size)

    def _prepared_or_next(self, index: int) -> tuple[Photograph, ...]:
        """Return the prepared photograph of a file, or of the next one (in sorted order) that is not damaged."""
        for candidate in range(index, index + len(self.paths)):
            number = candidate % len(self.paths)
            if number in self._damaged:
                continue
            try:
                return self._prepared(number)
            except _DamagedFileError as error:
                self._damaged.add(number)
                _log.warning("skipped: %s", error)
        raise MedfeError(f"{self.config.root}: none of {len(self.paths)} images can be read")

    def _prepared(self, number: int) -> tuple[Photograph, ...]:
        """Return the photograph and, if wanted, its structure image, uint8 H×W×3, before crop and flip."""
        if number in self._cache:
            return self._cache[number]
        path = self.paths[number]
        images: tuple[Photograph, ...] = (self.prepare(path),)
        if self.structure is not None:
            images += (_as_uint8(self.structure(path, images[0]), images[0].shape, path),)
        worker = get_worker_info()
        budget = self.cache_bytes // (worker.num_workers if worker else 1)
        size = sum(image.nbytes for image in images)
        if self._cached_bytes + size <= budget:
            self._cache[number] = images
            self._cached_bytes += size
        return images

    def prepare(self, path: Path) -> Photograph:
        """Return a photograph as it is before crop and flip, uint8 H×W×3.

        Raises:
            MedfeError: it cannot be decoded.
        """
        size = self.image_size
        shorter = size if self.config.crop == "center" else max(size, round(self.config.resize * size))
        try:
            # Twice the final size keeps JPEG's reduced decoding out of sight behind the antialiased resize.
            photograph = load_image(path, at_least=2 * shorter)
        except MedfeError as error:
            raise _DamagedFileError(str(error)) from None
        if self.config.crop == "center" or self.config.layout == "celeba":
            photograph = center_square(photograph)  # of CelebA's 178×218 MEDFE+CAE's 178×178
        return np.asarray(resize(photograph, _with_shorter_side(photograph.size, shorter)))


class _DamagedFileError(MedfeError):
    """A photograph cannot be decoded; unlike other errors, it is skipped."""


def _with_shorter_side(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    scale = shorter / min(size)
    width, height = (max(shorter, round(side * scale)) for side in size)
    return width, height


def _as_uint8(image: NDArray[Any], shape: tuple[int, ...], path: Path) -> Photograph:
    if image.shape != shape:
        raise ValueError(f"structure image of {path}: expected shape {shape}, found {image.shape}")
    if image.dtype == np.uint8:
        return image
    levels: Photograph = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return levels
