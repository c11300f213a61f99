"""Fill the holes of picture files: what `medfe inpaint` does."""

import logging
import os
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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

log = logging.getLogger(__name__)

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

    Nothing is written before picture, mask and model have been read; files appear whole or not at all. Of a folder,
    pictures that are unreadable are named and skipped.

    Args:
        source: picture, or folder of pictures.
        mask: mask file, folder of mask files (see `masks_by_picture`), or a rule, see `RULES`.
        out: file (PNG) for a picture, folder for a folder.
        model: see `Inpainter.from_pretrained`.
        hole: colour of the hole in mask files.
        seed: of generated masks; each picture's mask depends on the seed and its name.
        device: where to compute; default: the best there is.

    Returns:
        The number of pictures written.

    Raises:
        MedfeError: something is missing, unreadable, or of another size, or would be overwritten; results that a
            folder has by then are kept. Whether all masks are there is known before anything is written.
    """
    if not source.exists():
        raise MedfeError(f"{source}: no such picture or folder")
    paths = find_images(source) if source.is_dir() else [source]
    targets = choose_targets(source, paths, out)
    if mask not in RULES and Path(mask).exists() and Path(mask).resolve() == out.resolve():
        raise MedfeError(f"{out}: is the {'folder of masks' if out.is_dir() else 'mask'} itself, expected another name")
    mask_for = mask_rule(mask, hole, seed, source, paths)
    inpainter = Inpainter.from_pretrained(model, device)
    items = list(zip(paths, targets, strict=True))
    written = 0
    for path, target in track(items, description="inpainting", disable=len(paths) < 2, transient=True):
        try:
            picture = load_image(path)
        except MedfeError as error:
            if path == source:
                raise
            log.warning("skipped: %s", error)
            continue
        area = mask_for(path, picture.size)
        try:
            check_mask(area, str(mask))
            filled = inpainter(picture, area)
        except MedfeError as error:
            raise MedfeError(f"{path}: {error}") from None
        target.parent.mkdir(parents=True, exist_ok=True)
        save_png(filled, target)
        written += 1
    if not written:
        raise MedfeError(f"{source}: none of {len(paths)} pictures can be read")
    return written


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


def mask_rule(mask: str, hole: HoleColor, seed: int, source: Path, paths: Sequence[Path]) -> MaskFor:
    """Return the function (path, (width, height)) → mask that a `--mask` names.

    Args:
        mask: see `inpaint_files`, as are `hole`, `seed` and `source`.
        hole: of mask files.
        seed: of generated masks.
        source: picture or folder.
        paths: all pictures, which are `source` or lie in it.

    Raises:
        MedfeError: neither a rule, a file nor a folder, or a folder without the masks of all pictures.
    """
    if mask in RULES:
        return lambda path, size: generated_mask(mask, size, (seed + zlib.crc32(os.fsencode(path.name))) % 2**64)
    given = Path(mask)
    if given.is_dir():
        files = masks_by_picture(given, source, paths)
        return lambda path, size: load_mask(files[path], size, hole)
    if given.is_file():
        return lambda _, size: load_mask(given, size, hole)
    raise MedfeError(f"mask {mask!r}: found no such file or folder, expected one, or one of: {', '.join(RULES)}")


def masks_by_picture(folder: Path, source: Path, paths: Sequence[Path]) -> Mapping[Path, Path]:
    """Return each picture's file in a folder of masks.

    It is the one with the picture's name, of any image ending, in the same sub-folder; where that has none, the one
    directly in the folder, if no other picture has that name.

    Raises:
        MedfeError: a picture has no mask, or several.
    """
    masks: dict[Path, list[Path]] = {}
    for file in find_images(folder):
        masks.setdefault(file.relative_to(folder).with_suffix(""), []).append(file)
    pictures = Counter(path.stem for path in paths)
    chosen = {}
    for path in paths:
        place = path.relative_to(source).with_suffix("") if source.is_dir() else Path(path.stem)
        found = masks.get(place, [])
        if not found and pictures[path.stem] == 1:
            found = masks.get(Path(path.stem), [])
        if not found:
            raise MedfeError(f"{folder}: no mask named {place.as_posix()}.* for {path}")
        if len(found) > 1:
            raise MedfeError(f"{folder}: found {len(found)} masks named {found[0].stem}.* for {path}, expected one")
        chosen[path] = found[0]
    return chosen


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
