"""What all methods are tested on: photographs, and one stored mask or more for each."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from medfe.data.files import Split, listing_digest
from medfe.data.folder import EvaluationPhotographs, PhotographCrops
from medfe.data.images import to_uint8
from medfe.data.masks import HoleColor, Mask, MaskFolder, area_bin, check_mask, load_mask, mask_to_tensor, parse_masks
from medfe.errors import MedfeError

Crop = Literal["center", "random"]

_UTKFACE = re.compile(r"(\d{1,3})_([01])_[0-4]_\d+")  # age, sex, race and date, as UTKFace names its files
AGE_GROUPS = {"0-12": 12, "13-19": 19, "20-39": 39, "40-59": 59, "60 and over": 999}
"""Name of a group of ages → its last year."""
SEXES = ("male", "female")


class Batch(NamedTuple):
    """Some items of a test set."""

    images: Tensor
    """uint8 N×3×S×S originals."""
    masks: Tensor
    """float N×1×S×S, 1 = hole."""


class TestSet:
    """Images with masks; item i is image i div k with the image's mask i mod k, of k masks an image.

    Args:
        data: Folder of photographs.
        image_size: S, side of the images, pixels.
        n: Number of images; default: all photographs.
        part: Part of the folder, as in `medfe.data.files.list_photographs`.
        layout: `folder` or `celeba`.
        crop: `center`: the central square of each photograph, resized. `random`: n crops S×S at the photographs' own
            resolution, spread evenly over them.
        seed: Of random crops.

    Attributes:
        names: (n,) path of each image's photograph, relative to `data`.
        photographs: (n,) label of each image's photograph: images of one photograph are not independent.

    Raises:
        MedfeError: if there are fewer images than asked for.
    """

    __test__ = False  # no class of tests, whatever pytest makes of the name

    def __init__(
        self,
        data: Path,
        image_size: int,
        n: int | None = None,
        *,
        part: Split = "all",
        layout: str = "folder",
        crop: Crop = "center",
        seed: int = 0,
    ) -> None:
        limit = n if crop == "center" else None
        photographs = EvaluationPhotographs(data, image_size, part=part, layout=layout, limit=limit)
        self.images: EvaluationPhotographs | PhotographCrops = photographs
        if crop == "random":
            self.images = photographs.random_crops(n or len(photographs), seed)
        if n is not None and len(self.images) < n:
            skipped = f" ({len(photographs.unreadable)} more cannot be read)" if photographs.unreadable else ""
            raise MedfeError(f"{data}: found {len(self.images)} images{skipped}, expected {n}, the number asked for")
        paths = self.images.paths
        self.image_size = image_size
        self.photographs: NDArray[np.int64] = np.arange(len(self.images)) % len(paths)
        names = [os.fsencode(path.relative_to(data).as_posix()).decode(errors="backslashreplace") for path in paths]
        self.names = [names[i] for i in self.photographs]
        self.digest = listing_digest(paths, data)
        self._packed = np.empty((0, 0), dtype=np.uint8)
        self.masks_per_image = 0

    def __len__(self) -> int:
        return len(self.images) * self.masks_per_image

    def draw_masks(
        self, rule: str, per_image: int, seed: int, *, hole: HoleColor = "white", resize: bool = False
    ) -> None:
        """Give every image its masks; they depend on rule, seed, size and number alone.

        Files of a folder are used equally often, in random order.

        Args:
            rule: As for `medfe.data.masks.parse_masks`.
            per_image: k, masks an image.
            seed: Of generated masks, or of the order of files.
            hole: Colour of the hole in mask files.
            resize: Resize mask files (nearest neighbour) instead of refusing another size.

        Raises:
            MedfeError: unknown rule, or a mask file that is unreadable, empty, full or of another size.
        """
        source = parse_masks(rule, hole)
        count, size = len(self.images) * per_image, self.image_size
        if isinstance(source, MaskFolder):
            order = np.random.default_rng(seed).permutation(len(source.paths)).tolist()
            masks = (_from_folder(source, order[item % len(order)], size, resize) for item in range(count))
        else:
            masks = (source.mask(size, np.random.default_rng((seed, item))) for item in range(count))
        self.set_masks(np.stack([np.packbits(mask) for mask in masks]))

    def set_masks(self, packed: NDArray[np.uint8]) -> None:
        """Take stored masks, (n·k)×⌈S²/8⌉, bits packed by `numpy.packbits`."""
        self._packed, self.masks_per_image = packed, len(packed) // len(self.images)

    @property
    def packed_masks(self) -> NDArray[np.uint8]:
        """The masks as `set_masks` takes them."""
        return self._packed

    def mask(self, item: int) -> Mask:
        """Return the mask of an item, S×S."""
        size = self.image_size
        return np.unpackbits(self._packed[item], count=size * size).reshape(size, size).astype(bool)

    def image(self, index: int) -> Tensor:
        """Return an original, uint8 3×S×S."""
        picture: Tensor = torch.from_numpy(to_uint8(self.images[index]["image"])).movedim(-1, 0)
        return picture

    def batch(self, items: range) -> Batch:
        """Return some items; images come one after another, so each is read once."""
        k = self.masks_per_image
        originals = {index: self.image(index) for index in range(items.start // k, (items.stop - 1) // k + 1)}
        images = torch.stack([originals[item // k] for item in items])
        return Batch(images, torch.stack([mask_to_tensor(self.mask(item)) for item in items]))

    def table(self) -> pd.DataFrame:
        """Return one row an item: photograph, image, mask, mask_area, area_bin; age and sex where names say them."""
        items = np.arange(len(self))
        masks = [self.mask(item) for item in range(len(self))]
        index = items // self.masks_per_image
        table = pd.DataFrame({
            "photograph": np.array(self.names, dtype=object)[index], "image": index,
            "mask": items % self.masks_per_image, "mask_area": [mask.mean() for mask in masks],
            "area_bin": [area_bin(mask) for mask in masks],
        })  # fmt: skip
        faces = [_UTKFACE.match(Path(name).name) for name in self.names]
        if 2 * sum(map(bool, faces)) > len(faces):  # some names of UTKFace lack a field: those faces are in no group
            ages = pd.Series([int(face[1]) if face else None for face in faces]).to_numpy()
            sexes = np.array([SEXES[int(face[2])] if face else None for face in faces], dtype=object)
            table["age"], table["sex"] = ages[index], sexes[index]
        return table


def age_group(age: int) -> str:
    """Return the group of an age in years, one of `AGE_GROUPS`."""
    return next(name for name, last in AGE_GROUPS.items() if age <= last)


def _from_folder(source: MaskFolder, index: int, size: int, resize: bool) -> Mask:
    if resize:
        return source.load(index, size)
    path = source.paths[index]
    try:
        mask = load_mask(path, (size, size), source.hole)
    except MedfeError as error:
        hint = "; --resize-masks resizes mask files" if "mask is" in str(error) else ""
        raise MedfeError(f"{error}{hint}") from None
    check_mask(mask, str(path))
    return mask
