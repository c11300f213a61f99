"""Fill the holes of picture files: what `medfe inpaint` does."""

import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from rich.progress import track

from medfe.config import MaskKind
from medfe.data.files import find_images
from medfe.data.images import load_image, save_png
from medfe.data.masks import HoleColor, Mask, check_mask, load_mask, parse_masks
from medfe.errors import MedfeError
from medfe.inference import Inpainter

RULES = (*get_args(MaskKind), "irregular")
MaskFor = Callable[[Path, tuple[int, int]], Mask]


def inpaint_files(
    source: Path,
    mask: str,
    out: Path,
    *,
    model: str,
    hole: HoleColor = "white",
    seed: int = 0,
    device: str | None = None,
) -> int:
    """Fill the hole of a picture file, or of every picture of a folder.

    Nothing is written before picture, mask and model have been read; files appear whole or not at all.

    Args:
        source: picture, or folder of pictures.
        mask: mask file, folder of mask files with the pictures' names (any image ending), or a rule, see `RULES`.
        out: file (PNG) for a picture, folder for a folder.
        model: see `Inpainter.from_pretrained`.
        hole: colour of the hole in mask files.
        seed: of generated masks; each picture's mask depends on the seed and its name.
        device: where to compute; default: the best there is.

    Returns:
        The number of pictures written.

    Raises:
        MedfeError: something is missing, unreadable, or of another size, or would be overwritten; a folder's earlier
            results are kept.
    """
    if not source.exists():
        raise MedfeError(f"{source}: no such picture or folder")
    paths = find_images(source) if source.is_dir() else [source]
    targets = choose_targets(source, paths, out)
    if mask not in RULES and Path(mask).exists() and Path(mask).resolve() == out.resolve():
        raise MedfeError(f"{out}: is the {'folder of masks' if out.is_dir() else 'mask'} itself, expected another name")
    mask_for = mask_rule(mask, hole, seed)
    inpainter = Inpainter.from_pretrained(model, device)
    items = list(zip(paths, targets, strict=True))
    for path, target in track(items, description="inpainting", disable=len(paths) < 2, transient=True):
        picture = load_image(path)
        area = mask_for(path, picture.size)
        try:
            check_mask(area, str(mask))
            filled = inpainter(picture, area)
        except MedfeError as error:
            raise MedfeError(f"{path}: {error}") from None
        target.parent.mkdir(parents=True, exist_ok=True)
        save_png(filled, target)
    return len(paths)


def choose_targets(source: Path, paths: Sequence[Path], out: Path) -> list[Path]:
    """Return where the results of `paths`, which are `source` or lie in it, are written.

    Raises:
        MedfeError: a result would overwrite a picture or another result, or is no PNG.
    """
    if not source.is_dir():
        if out.suffix.lower() != ".png":
            raise MedfeError(f"{out}: expected a name that ends in .png, the format that keeps known pixels exact")
        if out.resolve() == source.resolve():
            raise MedfeError(f"{out}: is the picture itself, expected another name")
        return [out]
    if out.resolve() == source.resolve():
        raise MedfeError(f"{out}: is the folder of the pictures itself, expected another folder")
    targets: dict[Path, Path] = {}
    originals = {path.resolve() for path in paths}
    for path in paths:
        target = (out / path.relative_to(source)).with_suffix(".png")
        if target in targets:
            raise MedfeError(f"{path}: its result has the name of that of {targets[target]}, rename one of them")
        if target.resolve() in originals:
            raise MedfeError(f"{target}: is one of the pictures, expected another folder than {out}")
        targets[target] = path
    return list(targets)


def mask_rule(mask: str, hole: HoleColor, seed: int) -> MaskFor:
    """Return the function (path, (width, height)) → mask that a `--mask` names.

    Raises:
        MedfeError: neither a rule, a file nor a folder.
    """
    if mask in RULES:
        return lambda path, size: generated_mask(mask, size, (seed + zlib.crc32(os.fsencode(path.name))) % 2**64)
    given = Path(mask)
    if given.is_dir():
        files: dict[str, list[Path]] = {}
        for file in find_images(given):
            files.setdefault(file.stem, []).append(file)

        def of_same_name(path: Path, size: tuple[int, int]) -> Mask:
            found = files.get(path.stem, [])
            if not found:
                raise MedfeError(f"{given}: no mask named {path.stem}.* for {path}")
            if len(found) > 1:
                raise MedfeError(f"{given}: found {len(found)} masks named {path.stem}.* for {path}, expected one")
            return load_mask(found[0], size, hole)

        return of_same_name
    if given.is_file():
        return lambda _, size: load_mask(given, size, hole)
    raise MedfeError(f"mask {mask!r}: found no such file or folder, expected one, or one of: {', '.join(RULES)}")


def generated_mask(rule: str, size: tuple[int, int], seed: int) -> Mask:
    """Return a mask of a rule for a picture of any size (width, height).

    `center` is rows H/4:3H/4 and columns W/4:3W/4. Others are drawn on the picture's central square.
    """
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    if rule == "center":
        mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = True
        return mask
    side = min(size)
    top, left = (height - side) // 2, (width - side) // 2
    mask[top : top + side, left : left + side] = parse_masks(rule).mask(side, np.random.default_rng(seed))
    return mask
