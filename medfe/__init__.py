"""MEDFE image inpainting and MEDFE+CAE: exact, readable, and a bench on which to test the variant's claim."""

from typing import TYPE_CHECKING, Any

from medfe.errors import MedfeError

if TYPE_CHECKING:
    from medfe.inference import Inpainter

__version__ = "0.1.0"
__all__ = ["Inpainter", "MedfeError", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Inpainter":  # loads torch, which settings and error messages do without
        from medfe.inference import Inpainter  # noqa: PLC0415

        return Inpainter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
