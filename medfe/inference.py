"""`Inpainter`: one class for everyone who wants a picture back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medfe.config import ARMS, PRESETS, GeneratorConfig, TargetConfig, parse
from medfe.data.images import as_rgb, composite, load_image, resize, to_tensor, to_uint8
from medfe.data.masked_resize import resize_with_hole
from medfe.data.masks import Mask, check_mask, load_mask, mask_of_image, mask_to_tensor
from medfe.devices import choose_device
from medfe.errors import MedfeError
from medfe.models.generator import Generator, build_generator
from medfe.weightfiles import GENERATOR_FILE, WeightFile, fill, load_weights

WEIGHTS = Path(__file__).parent / "weights"

ImageLike: TypeAlias = "Image.Image | NDArray[np.uint8] | str | Path"
MaskLike: TypeAlias = "Image.Image | NDArray[Any] | str | Path"


def shipped_models() -> list[str]:
    """Return the names of the models in the package, each `PRESET/ARM`."""
    return [f"{preset}/{arm}" for preset in PRESETS for arm in ARMS if shipped_file(preset, arm).is_file()]


def shipped_file(preset: str, name: str) -> Path:
    """Return where the package has a preset's weights, if it has them; `name` is an arm, `texture` or `structure`."""
    return WEIGHTS / preset / f"{name}.safetensors"


def find_weights(source: str | Path) -> Path:
    """Return the weight file of a shipped model's name, a run folder, or a weight file.

    Raises:
        MedfeError: if there is none, naming the shipped models.
    """
    if str(source) in shipped_models():
        return WEIGHTS / f"{source}.safetensors"
    path = Path(source)
    if path.is_file():
        return path
    if (path / GENERATOR_FILE).is_file():
        return path / GENERATOR_FILE
    files = sorted(file.name for file in path.glob("*.safetensors")) if path.is_dir() else []
    expected = (
        f"a run folder with {GENERATOR_FILE}" if path.is_dir() else "a shipped model, a run folder or a weight file"
    )
    if files:
        expected += f", or one of the weight files in it ({', '.join(files)})"
    raise MedfeError(f"model {str(source)!r}: not found, expected {expected}; shipped: {', '.join(shipped_models())}")


class Window(NamedTuple):
    """Part of a picture that the model sees, pixels; it is brought to the model's square."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top


def choose_window(mask: Mask) -> Window:
    """Return the largest square that holds the hole, as central in the picture as that allows.

    Where the hole is longer than the picture's shorter side, or would fill that square, the whole picture is taken, and
    will be squeezed.
    """
    height, width = mask.shape
    side = min(height, width)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    starts = []
    for length, cells in ((width, columns), (height, rows)):
        first, last = int(cells[0]), int(cells[-1]) + 1
        if last - first > side:
            return Window(0, 0, width, height)
        starts.append(int(np.clip((length - side) // 2, max(last - side, 0), min(first, length - side))))
    left, top = starts
    if mask[top : top + side, left : left + side].all():
        return Window(0, 0, width, height)
    return Window(left, top, left + side, top + side)


class Prepared(NamedTuple):
    """A picture, its hole, and what the model gets of them."""

    picture: NDArray[np.uint8]  # H×W×3
    hole: Mask  # H×W
    window: Window
    image: Tensor  # 3×S×S in [-1, 1]
    mask: Tensor  # 1×S×S, 1 = hole


class Inpainter:
    """A trained generator that fills holes in pictures of any size, files up to 40 megapixels.

    The model works on a square of its own size. A picture of that size is filled as it is. Any other is cut to its
    largest square around the hole, shrunk or enlarged, filled, and the filling is resized back and pasted into the
    hole: known pixels are never changed. Detail in the hole is limited to the model's resolution.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        name: str = "",
        metadata: dict[str, Any] | None = None,
        source: Path | None = None,
    ) -> None:
        """Wrap a generator, in evaluation mode, on the device it is on."""
        self.generator = generator.eval().requires_grad_(False)
        self.name = name
        self.metadata = metadata or {}
        self.source = source

    @classmethod
    def from_pretrained(cls, source: str | Path, device: str | torch.device | None = None) -> Inpainter:
        """Load a model.

        Args:
            source: `PRESET/ARM` of a shipped model, a run folder, or a weight file.
            device: default: the best there is.

        Raises:
            MedfeError: if there is no such model or device, or the model's file is damaged or of another network.
        """
        path = find_weights(source)
        file = load_weights(path, "generator")
        generator = build_generator(parse(GeneratorConfig, file.metadata.get("config", {}), str(path)))
        fill(generator, generator_tensors(file), path)
        try:
            generator.to(choose_device(device))
        except (RuntimeError, AssertionError) as error:  # unknown, or absent on this machine
            raise MedfeError(f"device {str(device)!r}: {str(error).splitlines()[0]}") from None
        return cls(generator, name=str(source), metadata=file.metadata, source=path)

    @property
    def image_size(self) -> int:
        """Side of the square the model works on, pixels."""
        return self.generator.config.image_size

    @property
    def device(self) -> torch.device:
        """Device the model is on."""
        return next(self.generator.parameters()).device

    @property
    def arm(self) -> str:
        """Arm the model was trained with, empty if unknown."""
        return str((self.metadata.get("target") or {}).get("arm", ""))

    @property
    def target_config(self) -> TargetConfig:
        """Settings of the target the model was trained against."""
        return parse(TargetConfig, self.metadata.get("target") or {}, self.name)

    def __call__(self, image: ImageLike, mask: MaskLike) -> Image.Image:
        """Fill the hole of one picture.

        Args:
            image: PIL image, uint8 H×W×3, or path of at most 40 megapixels. Path or opened, an image is read alike:
                turned as its EXIF orientation asks for, transparent pixels on white.
            mask: PIL image or path, its hole white, its transparent pixels known; bool H×W (True = hole), or numbers
                H×W (≥ 128 of uint8, > 0.5 of floats = hole); of the picture's size.

        Returns:
            A picture of the same size, mode RGB; pixels outside the hole are exactly the input's.

        Raises:
            MedfeError: unreadable picture or mask, another size, an empty or full mask.
        """
        return self.inpaint([image], [mask])[0]

    def inpaint(self, images: Sequence[ImageLike], masks: Sequence[MaskLike], batch_size: int = 8) -> list[Image.Image]:
        """Fill the holes of several pictures, `batch_size` at a time; see `__call__`.

        Raises:
            MedfeError: as `__call__`, or if there are not as many masks as pictures.
        """
        if len(images) != len(masks):
            raise MedfeError(f"found {len(images)} images and {len(masks)} masks, expected one mask for each image")
        filled = []
        for start in range(0, len(images), batch_size):
            stop = start + batch_size
            parts = [self.prepare(*pair) for pair in zip(images[start:stop], masks[start:stop], strict=True)]
            output = self.fill(torch.stack([part.image for part in parts]), torch.stack([part.mask for part in parts]))
            squares = to_uint8(output.cpu())
            filled += [self._paste(part, square) for part, square in zip(parts, squares, strict=True)]
        return filled

    @torch.inference_mode()
    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill squares of the model's own size.

        Args:
            image: N×3×S×S in [-1, 1].
            mask: N×1×S×S, 1 = hole.

        Returns:
            N×3×S×S in [-1, 1] on the model's device, known pixels pasted back.
        """
        image, mask = image.to(self.device), mask.to(self.device)
        return composite(self.generator(image, mask).image, image, mask)

    def prepare(self, image: ImageLike, mask: MaskLike) -> Prepared:
        """Return what the model gets of a picture and its hole: a square of its own size.

        Nothing of the hole's content is in the square's known pixels, and a pixel that covers any of the hole is of it.

        Args:
            image: as for `__call__`.
            mask: as for `__call__`.

        Raises:
            MedfeError: as `__call__`.
        """
        picture = as_picture(image)
        hole = as_mask(mask, (picture.shape[1], picture.shape[0]))
        check_mask(hole)
        window, side = choose_window(hole), self.image_size
        part = np.s_[window.top : window.bottom, window.left : window.right]
        if window.size == (side, side):
            return Prepared(picture, hole, window, to_tensor(picture[part]), mask_to_tensor(hole[part]))
        pixels, square_hole = resize_with_hole(picture[part], hole[part], side)
        return Prepared(picture, hole, window, to_tensor(pixels), mask_to_tensor(square_hole))

    def _paste(self, part: Prepared, square: NDArray[np.uint8]) -> Image.Image:
        filling = np.asarray(resize(Image.fromarray(square), part.window.size))
        result = part.picture.copy()
        window = np.s_[part.window.top : part.window.bottom, part.window.left : part.window.right]
        hole = part.hole[window]
        result[window][hole] = filling[hole]
        return Image.fromarray(result)


def generator_tensors(file: WeightFile) -> dict[str, Tensor]:
    """Return the generator's own tensors of a weight file, without those of its target."""
    prefix = "generator."
    return {name.removeprefix(prefix): tensor for name, tensor in file.tensors.items() if name.startswith(prefix)}


def as_picture(image: ImageLike) -> NDArray[np.uint8]:
    """Return uint8 H×W×3 of a PIL image, an array, or a path.

    Raises:
        MedfeError: unreadable, or an array of another shape or type.
    """
    if isinstance(image, str | Path):
        return np.asarray(load_image(image))
    if isinstance(image, Image.Image):
        return np.asarray(as_rgb(image, "image"))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise MedfeError(f"image: found an array {image.dtype} {image.shape}, expected uint8 H×W×3")
    return image


def as_mask(mask: MaskLike, size: tuple[int, int]) -> Mask:
    """Return bool H×W, True = hole.

    Args:
        mask: see `Inpainter.__call__`.
        size: width and height that it must have.

    Raises:
        MedfeError: unreadable, or of another shape or type.
    """
    if isinstance(mask, str | Path):
        return load_mask(mask, size)
    array = mask_of_image(mask) if isinstance(mask, Image.Image) else np.asarray(mask)
    if array.ndim != 2:
        raise MedfeError(f"mask: found an array of shape {array.shape}, expected H×W")
    if array.shape != (size[1], size[0]):
        raise MedfeError(f"mask is {array.shape[1]}×{array.shape[0]}, image is {size[0]}×{size[1]}")
    if array.dtype == bool:
        return array
    hole: Mask = array >= 128 if array.dtype == np.uint8 else array > 0.5
    return hole
