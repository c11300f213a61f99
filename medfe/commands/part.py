"""Which photographs of a folder a command takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class Part:
    """A part of a folder of photographs (see `medfe.data.files.list_photographs`)."""

    layout: Literal["folder", "celeba"] = "folder"
    """celeba: img_align_celeba with list_eval_partition.txt."""
    split: Literal["all", "train", "val", "test"] = "all"
    """Part of the folder: its sub-folder of this name, CelebA's official part, else 90, 5 and 5 % by names."""
