"""Methods: anything that fills holes, under a name, with a digest that tells one version from the next."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from medfe.data.images import to_uint8
from medfe.errors import MedfeError
from medfe.evaluation import baselines
from medfe.inference import Inpainter, find_weights, shipped_models
from medfe.weightfiles import GENERATOR_FILE

Fill: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(image N×3×H×W in [-1, 1], mask N×1×H×W, 1 = hole) → image N×3×H×W in [-1, 1]."""

BASELINES: dict[str, Fill] = {
    "mean_fill": baselines.mean_fill, "telea": baselines.telea, "navier_stokes": baselines.navier_stokes,
}  # fmt: skip
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_LARGEST = 4.0  # a network without a final tanh overshoots a little; values of 0 … 255 go far beyond


@dataclass(frozen=True)
class Method:
    """A way to fill holes.

    Attributes:
        name: How tables call it.
        source: What it was made from: a shipped model, a path, `module:function` or a baseline.
        digest: Of weights or of the module's text; results are stored under it. Weights that a user's module loads
            are not seen.
        fill: The callable; see `Fill`. The hole of its image is grey (0), so that no method can look at the answer.
        image_size: Side of the images it works on, pixels; None: any.
        arm: Arm that a model of ours was trained with, else empty.
    """

    name: str
    source: str
    digest: str
    fill: Fill
    image_size: int | None = None
    arm: str = ""

    @torch.inference_mode()
    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill holes, paste the known pixels back and round to 8 bits.

        Args:
            image: uint8 N×3×H×W originals; what is in the hole is not passed on.
            mask: N×1×H×W, 1 = hole.

        Returns:
            uint8 N×3×H×W on the CPU.

        Raises:
            MedfeError: if the method returns no finite images of the size it was given.
        """
        known = image.float() / 127.5 - 1
        output = self.fill(known * (1 - mask), mask)
        if not isinstance(output, Tensor):
            raise MedfeError(f"method {self.name}: returned a {type(output).__name__}, expected a tensor")
        output = output.detach().cpu().float()
        if output.shape != known.shape:
            found, expected = ("×".join(map(str, shape)) for shape in (output.shape, known.shape))
            raise MedfeError(f"method {self.name}: returned {found}, expected {expected}")
        inside = output[(mask > 0.5).expand_as(output)]
        if not torch.isfinite(inside).all():
            raise MedfeError(f"method {self.name}: returned NaN or infinities, expected numbers in [-1, 1]")
        if inside.abs().max() > _LARGEST:
            largest = float(inside.abs().max())
            raise MedfeError(f"method {self.name}: returned values up to ±{largest:.3g}, expected numbers in [-1, 1]")
        filled = torch.from_numpy(to_uint8(output)).movedim(-1, 1)
        return torch.where(mask > 0.5, filled, image)


def load_methods(sources: Sequence[str], device: str | None = None) -> list[Method]:
    """Load methods.

    Args:
        sources: each a baseline (see `BASELINES`), a shipped model's name, a run folder, a weight file or
            `module:function`; with `NAME=` in front, it is called so.
        device: where models compute; default: the best there is.

    Raises:
        MedfeError: if one is not found, two have one name, or models work at different sizes.
    """
    named = [_split(source) for source in sources]
    counts = Counter(name for name, _ in named)
    for name, count in counts.items():
        if count > 1:
            same = " and ".join(repr(source) for other, source in named if other == name)
            raise MedfeError(f"methods: {same} have one name, {name!r}; call one of them NAME=SOURCE")
    methods = [load_method(name, source, device) for name, source in named]
    sizes = {method.name: method.image_size for method in methods if method.image_size is not None}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise MedfeError(f"methods: found models of different image sizes ({listed}), expected one size")
    return methods


def load_method(name: str, source: str, device: str | None = None) -> Method:
    """Load one method.

    Raises:
        MedfeError: if it is not found.
    """
    if source in BASELINES:
        return Method(name, source, _digest(inspect.getsource(baselines).encode()), BASELINES[source])
    if _FUNCTION.fullmatch(source) and not Path(source).exists():
        return _load_function(name, source)
    if not (Path(source).exists() or source in shipped_models()):
        raise MedfeError(
            f"method {source!r}: not found, expected {', '.join(BASELINES)}, module:function, a run folder, a weight "
            f"file or a shipped model ({', '.join(shipped_models()) or 'none is installed'})"
        )
    path = find_weights(source)
    inpainter = Inpainter.from_pretrained(source, device)
    return Method(name, source, _digest(path.read_bytes()), inpainter.fill, inpainter.image_size, inpainter.arm)


def _load_function(name: str, source: str) -> Method:
    module_name, _, function_name = source.partition(":")
    # As `python -m` does: a user's module lies where the command is given.
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise MedfeError(f"method {source!r}: found no module {error.name} here or among the packages") from None
    except Exception as error:  # a user's module may fail in any way
        raise MedfeError(f"method {source!r}: the module fails with {type(error).__name__}: {error}") from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise MedfeError(f"method {source!r}: found no function {function_name} in {module_name}")
    file = getattr(module, "__file__", None)
    text = Path(file).read_bytes() if file else b""
    return Method(name, source, _digest(source.encode() + text), _guarded(function, source))


def _guarded(function: Fill, source: str) -> Fill:
    def fill(image: Tensor, mask: Tensor) -> Tensor:
        try:
            return function(image, mask)
        except (MedfeError, MemoryError):
            raise
        except Exception as error:  # a user's function may fail in any way
            raise MedfeError(f"method {source!r}: failed with {type(error).__name__}: {error}") from error

    return fill


def _split(source: str) -> tuple[str, str]:
    """Return name and source; a path is called by its last part."""
    name, separator, rest = source.partition("=")
    if separator and name and rest and not Path(source).exists():
        return name, rest
    if source in shipped_models() or source in BASELINES or _FUNCTION.fullmatch(source):
        return source, source
    path = Path(source)
    folder = path.parent if path.name == GENERATOR_FILE else path
    return (path.stem if path.is_file() and folder is path else folder.resolve().name), source


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
