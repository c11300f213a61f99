"""An entry that times what makes a target: smoothing against the codes of auto-encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from medfe.analysis.reconstruction import target_times
from medfe.config import AutoencoderConfig, AutoencoderKind, GeneratorConfig
from medfe.data.folder import EvaluationPhotographs
from medfe.experiments.entry import Entry, Estimate, Experiment, Workplace
from medfe.experiments.records import TABLES
from medfe.models.autoencoder import build_autoencoder


@dataclass(frozen=True, kw_only=True)
class TargetTimes(Entry):
    """Milliseconds of RTV and of a preset's encoders, one photograph, one thread of a CPU.

    The encoders' weights are drawn: they cost what trained ones cost.

    Attributes:
        photographs: Folder below --data; a crop of its first photograph is used.
        preset: Preset of the encoders' and the photograph's size.
        repeats: Timed runs of each way.
    """

    photographs: str
    preset: str = "paper"
    repeats: int = 25

    def settings(self, experiment: Experiment) -> dict[str, Any]:
        """Return what is timed."""
        del experiment
        return {"photographs": self.photographs, "preset": self.preset, "repeats": self.repeats}

    def estimate(self) -> Estimate:
        """Return the cost."""
        return Estimate(2.0 * self.repeats, 0)

    def has_weights(self, place: Workplace) -> bool:
        """Tell that nothing starts from it."""
        del place
        return True

    def run(self, place: Workplace) -> dict[str, Any]:
        """Time all ways in turns."""
        generator = GeneratorConfig.preset(self.preset)
        encoders = {
            f"{kind} code": build_autoencoder(AutoencoderConfig.matching(generator, kind)).eval()
            for kind in get_args(AutoencoderKind)
        }
        crops = EvaluationPhotographs(place.photographs(self.photographs), generator.image_size).random_crops(1)
        times = target_times(encoders, crops[0]["image"][None], self.repeats)
        return {TABLES: {"times": times.assign(image_size=generator.image_size, repeats=self.repeats)}}
