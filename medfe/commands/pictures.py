"""Pictures and files in, pictures and files out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg


@dataclass
class Inpaint:
    """Fill the hole of a picture, or of every picture of a folder."""

    image: Positional[Path]
    """Picture, or folder of pictures."""
    mask: str
    """Mask file (white = hole), folder of mask files with the pictures' names and sub-folders, or a rule: center, box,
    brush, irregular, irregular_thin, irregular_medium, irregular_thick."""
    out: Path
    """File to write, or folder for a folder."""
    model: str = "faces128/low_resolution"
    """PRESET/ARM of a shipped model, run folder, or weight file."""
    hole: Literal["white", "black"] = "white"
    """Colour of the hole in mask files."""
    seed: int = 0
    """Seed of generated masks."""
    device: str | None = None
    """cpu, cuda or mps; default: the best there is."""

    def run(self) -> None:
        """Inpaint."""
        from medfe.inpaint_files import inpaint_files

        count = inpaint_files(
            self.image, self.mask, self.out, model=self.model, hole=self.hole, seed=self.seed, device=self.device
        )
        print(f"{count} {'picture' if count == 1 else 'pictures'} written to {self.out}")


@dataclass
class FindCopies:
    """List the photographs of a folder that another folder holds too: what is trained on must not be tested on."""

    photographs: Positional[Path]
    """Folder of photographs, such as those to test on."""
    others: Positional[Path]
    """Folder of photographs, such as those trained on."""
    out: Path | None = None
    """CSV file to write; default: print."""
    threshold: float = 0.946
    """Smallest correlation of the two pictures, shrunk to 32×32, that counts; the default suits aligned faces."""

    def run(self) -> None:
        """Find copies."""
        from medfe.data.copies import find_copies

        if self.out is not None:  # before minutes have passed
            self.out.parent.mkdir(parents=True, exist_ok=True)
        table = find_copies(self.photographs, self.others, self.threshold)
        if self.out is None:
            print(table.to_csv(index=False), end="")
        else:
            table.to_csv(self.out, index=False)
            print(f"{len(table)} {'copy' if len(table) == 1 else 'copies'} written to {self.out}")


@dataclass
class Rtv:
    """Smooth every picture of a folder by relative total variation (the structure images of MEDFE)."""

    in_dir: Positional[Path]
    """Folder of pictures."""
    out_dir: Positional[Path]
    """Folder that gets a PNG of the same relative name for each; what is there already is kept."""
    smoothness: float = 0.015
    """Weight of the smoothness (lambda of tsmooth)."""
    sigma: float = 3.0
    """Size of the texture to remove, pixels at a shorter side of 256; scaled with the picture."""
    sharpness: float = 0.001
    """Floor of the gradient magnitude."""
    iterations: int = 3
    """Number of re-weighted solves."""
    workers: int | None = None
    """Processes; default: one a core."""

    def run(self) -> None:
        """Smooth the folder."""
        from medfe.config import RtvConfig, parse
        from medfe.targets.rtv_folder import smooth_folder

        names = ("smoothness", "sigma", "sharpness", "iterations")
        config = parse(RtvConfig, {name: getattr(self, name) for name in names})
        print(smooth_folder(self.in_dir, self.out_dir, config, self.workers))


@dataclass
class ImportPublished:
    """Turn a checkpoint of the released MEDFE or MEDFE+CAE code into a run folder."""

    encoder: Annotated[Positional[Path], arg(name="EN.pth")]
    """Encoder."""
    decoder: Annotated[Positional[Path], arg(name="DE.pth")]
    """Decoder."""
    bottleneck: Annotated[Positional[Path], arg(name="MEDFE.pth")]
    """Everything between."""
    out: Path
    """Run folder to write."""

    def run(self) -> None:
        """Import and check."""
        from medfe.import_published import import_published

        print(import_published(self.encoder, self.decoder, self.bottleneck, self.out))
