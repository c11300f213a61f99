"""Which files of a folder are photographs, which part of a split they belong to, and which can be read."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from medfe.config import DataConfig
from medfe.data.images import check_header
from medfe.errors import MedfeError

Split = Literal["all", "train", "val", "test"]
PARTS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2"})

_HELD_OUT = 20  # one image in 20 for val, and one for test
_CELEBA_LIST = "list_eval_partition.txt"
_log = logging.getLogger(__name__)


def find_images(root: str | Path) -> list[Path]:
    """Return the image files below a folder, by extension, sorted by their path; hidden ones are left out.

    Links to folders are followed, but no folder is read twice, so that a link upwards ends and copies nothing.

    Raises:
        MedfeError: no such folder, or no image in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise MedfeError(f"{root}: {'is a file' if root.exists() else 'no such folder'}, expected a folder of images")
    paths: list[Path] = []
    seen: set[str] = set()
    starts = [root]
    for start in starts:  # links last: what lies in the folder itself has its own name, and no second one
        for folder, subfolders, names in os.walk(start):
            real = os.path.realpath(folder)
            if real in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))  # thumbnails, caches
            starts += [Path(folder, name) for name in subfolders if Path(folder, name).is_symlink()]
            paths += [
                Path(folder, name)
                for name in names
                if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")
            ]
    if not paths:
        raise MedfeError(f"{root}: no image in it, expected files ending in {', '.join(sorted(EXTENSIONS))}")
    return sorted(paths)


def shuffled(paths: Sequence[Path], root: Path | None = None) -> list[Path]:
    """Order files by the SHA-256 of their name relative to `root`, the same on every machine.

    Sorted names often follow age, class or date; any beginning of this order is a fair sample.

    Args:
        paths: files.
        root: folder that the names count from, with / between parts; default: their deepest common folder.
    """
    base = root or Path(os.path.commonpath([path.parent for path in paths]) if paths else ".")
    return sorted(paths, key=lambda path: hashlib.sha256(_name(path, base)).digest())


def listing_digest(paths: Sequence[Path], root: Path) -> str:
    """Return a digest of files' names below `root` and of their sizes, 16 hexadecimal digits; nothing is read."""
    sizes = [_name(path, root) + f" {path.stat().st_size}".encode() for path in paths]
    return hashlib.sha256(b"\n".join(sizes)).hexdigest()[:16]


def contents_digest(paths: Sequence[Path], root: Path) -> str:
    """Return a digest of files' names below `root` and of their contents, 12 hexadecimal digits.

    Raises:
        MedfeError: a file cannot be read.
    """
    content = hashlib.sha256()
    for path in paths:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise MedfeError(f"{path}: cannot be read ({error.strerror or error})") from None
        content.update(_name(path, root) + f" {digest}\n".encode())
    return content.hexdigest()[:12]


def _name(path: Path, root: Path) -> bytes:
    """Return a file's name below a folder, / between parts, as the file system has it: old archives are not UTF-8."""
    return path.relative_to(root).as_posix().encode(errors="surrogateescape")


def split(paths: Sequence[Path], part: Split, root: Path | None = None) -> list[Path]:
    """Return one part of 90 / 5 / 5 % (train / val / test), in sorted order.

    The files are ordered as in `shuffled`: its first twentieth (at least one file) is test, the next is val, the rest
    train. So the parts depend on names and number of the files alone, not on where the folder lies.

    Raises:
        MedfeError: fewer than three files.
    """
    if part == "all":
        return sorted(paths)
    if len(paths) < 3:
        raise MedfeError(f"{root or 'folder'}: {len(paths)} images, expected at least 3 to split into train, val, test")
    order, held_out = shuffled(paths, root), max(1, len(paths) // _HELD_OUT)
    return sorted(
        {
            "test": order[:held_out],
            "val": order[held_out : 2 * held_out],
            "train": order[2 * held_out :],
        }[part]
    )


def list_photographs(config: DataConfig) -> list[Path]:
    """Return the files that a configuration names, sorted: `root`, `layout` and `split`.

    A folder that has sub-folders train, val or test is split by them; CelebA by its official list; any other by
    `split`.

    Raises:
        MedfeError: no root, no images, no list, or no such part.
    """
    if config.root is None:
        raise MedfeError("data.root: not set, expected a folder of images")
    root = config.root
    if config.layout == "celeba":
        return _celeba(root, config.split)
    folders = [part for part in PARTS if (root / part).is_dir()]
    if config.split == "all" or not folders:
        return split(find_images(root), config.split, root)
    if config.split not in folders:
        raise MedfeError(f"{root}: no folder {config.split} in it, found {', '.join(folders)}")
    return find_images(root / config.split)


def _celeba(root: Path, part: Split) -> list[Path]:
    """Return CelebA's aligned images of a part; the list lies in the folder, above it, or in Eval beside or above."""
    images = root / "img_align_celeba" if (root / "img_align_celeba").is_dir() else root
    paths = {path.name: path for path in find_images(images)}
    if part == "all":
        return sorted(paths.values())
    places = [base / folder for base in (root, root.parent, root.parent.parent) for folder in (".", "Eval")]
    listing = next((place / _CELEBA_LIST for place in places if (place / _CELEBA_LIST).is_file()), None)
    if listing is None:
        raise MedfeError(f"{root}: {_CELEBA_LIST} not found in it or above it, needed for the split of CelebA")
    names = []
    for number, line in enumerate(listing.read_text().splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or fields[1] not in {"0", "1", "2"}:
            raise MedfeError(f"{listing}: line {number} is {line!r}, expected a file name and 0, 1 or 2")
        if PARTS[int(fields[1])] == part:
            names.append(fields[0])
    found = sorted(paths[name] for name in names if name in paths)
    if not found:
        raise MedfeError(f"{images}: none of the {len(names)} images that {listing.name} lists for {part}")
    if len(found) < len(names):
        _log.warning("%s: %d of %d images of %s are missing", images, len(names) - len(found), len(names), part)
    return found


def readable(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Tell apart files whose header is an image's of acceptable size, and others, which are reported.

    Only the header is read (0.1 ms a file); damage behind it shows when the pixels are decoded.

    Raises:
        MedfeError: none can be read.
    """
    good: list[Path] = []
    bad: dict[Path, str] = {}
    for path in paths:
        try:
            check_header(path)
            good.append(path)
        except MedfeError as error:
            bad[path] = str(error)
    if bad:
        first = next(iter(bad.values()))
        if not good:
            raise MedfeError(f"none of {len(bad)} files can be read; the first: {first}")
        _log.warning("%d of %d files skipped; the first: %s", len(bad), len(bad) + len(good), first)
    for reason in bad.values():
        _log.info("skipped: %s", reason)
    return good, list(bad)
