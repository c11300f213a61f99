"""Numbers: evaluation and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from medfe.commands.part import Part
from medfe.errors import MedfeError


@dataclass
class Evaluate:
    """Compare methods on the same images and masks, and write tables and a report."""

    methods: tuple[str, ...]
    """PRESET/ARM of a shipped model, run folder, weight file, module:function, mean_fill, telea or navier_stokes; with
    NAME= in front, it is called so."""
    data: Path
    """Folder of photographs."""
    out: Path
    """Folder for results. What is there already is not computed again."""
    part: Annotated[Part, arg(name="")] = field(default_factory=Part)
    masks: str = "irregular"
    """center, irregular, another kind of mask, or a folder of mask files of the images' size."""
    n: int | None = None
    """Number of images; default: all photographs."""
    allow_small: bool = False
    """Compute Fréchet distances from fewer than 2048 images too; they are labelled."""
    frechet: bool = True
    """Compute Fréchet distances."""
    image_size: int | None = None
    """Side of the images, pixels; default: the models' own, or 256 where no method has one."""
    crop: Literal["center", "random"] = "center"
    """center: photographs' central squares, resized. random: crops at native resolution."""
    masks_per_image: int = 1
    """Masks an image; the photograph stays the unit of the statistics."""
    seed: int = 0
    """Seed of masks, crops, resampling and permutations."""
    hole: Literal["white", "black"] = "white"
    """Colour of the hole in mask files."""
    resize_masks: bool = False
    """Resize mask files of another size instead of refusing them."""
    contrast: tuple[str, ...] = ()
    """Pairs of methods to compare, A B [C D …], the primary one first; default: the first two methods."""
    endpoint: str | None = None
    """Primary metric; default: kid, or the first judge's where Inception is missing."""
    margin: float | None = None
    """Differences of the primary metric up to this count as nothing, in its unit."""
    backbones: tuple[Literal["vgg16", "efficientnet_lite0", "efficientnet_lite2"], ...] = ("efficientnet_lite2",)
    """Judges of set distances beside Inception."""
    inception_weights: Path | None = None
    """torch-fidelity's weights of Inception; default: torch's cache."""
    lpips_weights: Path | None = None
    """torchvision's weights of AlexNet; default: torch's cache."""
    subsamples: int = 100
    """Subsamples of a Fréchet distance, a fraction of a second each."""
    frechet_permutations: int = 0
    """Random labellings of the test of a Fréchet contrast, a second each; 0 leaves it untested."""
    batch_size: int = 32
    """Images computed, and stored, at once; on a CPU, fewer than 16 have one thread of each process."""
    save_images: bool = False
    """Write every method's images as PNG."""
    show_data_images: bool = False
    """Show photographs of the data in the report instead of ones that may be published."""
    processes: int = 1
    """Processes that share the work: on a CPU of one thread each, with CUDA on the devices in turn."""
    device: str | None = None
    """cpu, cuda or mps; default: the best there is."""

    def run(self) -> None:
        """Evaluate and print the verdicts."""
        from medfe.config import parse
        from medfe.evaluation.run import evaluate, report_path
        from medfe.evaluation.settings import EvaluationSettings

        values = dict(vars(self))
        values |= vars(values.pop("part"))
        names = values.pop("contrast")
        if len(names) % 2:
            raise MedfeError(f"--contrast {' '.join(names)}: found {len(names)} methods, expected pairs")
        values["contrasts"] = tuple(zip(names[::2], names[1::2], strict=True))
        settings = parse(EvaluationSettings, values)
        for verdict in evaluate(settings).contrasts.get("verdict", ()):
            print(verdict)
        print(report_path(settings))


@dataclass
class Benchmark:
    """Measure speed and memory on the CPU, each beside its floor."""

    what: Positional[Literal["forward", "backward", "step", "scaling", "data", "rtv", "app", "table"]]
    """forward: the generator in evaluation mode. backward: its forward and backward pass. step: a whole training step.
    scaling: the step by threads and processes. data: how long training waits for its data. rtv: the smoothing that
    makes structure images. app: from the button to the pictures, and its memory. table: print earlier results as one
    table."""
    files: Positional[tuple[Path, ...]] = ()
    """table: JSON files that --out wrote."""
    preset: str = "paper"
    """paper, faces128, faces64 or tiny."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the computation."""
    batch_size: int | None = None
    """Images at once; default: 1, for step, data and (at least 2) scaling the preset's."""
    repeats: int = 10
    """Timed runs, after two that are not timed."""
    images: int = 100
    """rtv: photographs in the folder."""
    requests: int = 500
    """app: runs of one visitor, one after another."""
    visitors: int = 20
    """app: visitors at once, after that."""
    data: Path | None = None
    """data: folder of photographs; default: crops of photographs that come with the dependencies."""
    out: Path | None = None
    """JSON file for the result."""
    markdown: bool = False
    """Print a Markdown table."""
    compile: bool = False
    """forward, backward, step: measure the generator compiled by torch.compile too."""
    checkpointing: bool = False
    """backward, step: measure gradient checkpointing too."""
    list_convolutions: bool = False
    """forward, backward: print the convolutions that make the floor, with their operations."""

    def run(self) -> None:
        """Measure and print."""
        from medfe.benchmark.results import Result, markdown

        self.check()
        results = [Result.load(path) for path in self.files] if self.what == "table" else [self.measure()]
        print(markdown(results) if self.markdown else "\n".join(result.text() for result in results))
        if self.out is not None:
            results[0].save(self.out)

    def check(self) -> None:
        """Refuse options that say nothing here.

        Raises:
            MedfeError: naming the option.
        """
        found = {
            "--compile": (self.compile, ("forward", "backward", "step")),
            "--checkpointing": (self.checkpointing, ("backward", "step")),
            "files": (bool(self.files), ("table",)),
            "--out": (self.out is not None, ("forward", "backward", "step", "scaling", "data", "rtv", "app")),
        }
        for name, (given, places) in found.items():
            if given and self.what not in places:
                raise MedfeError(f"benchmark {self.what}: found {name}, expected it with {', '.join(places)} only")
        for name in ("batch_size", "repeats", "images", "requests", "visitors"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise MedfeError(f"--{name.replace('_', '-')}: found {value}, expected at least 1")
        if self.what == "table" and not self.files:
            raise MedfeError("benchmark table: found no files, expected those that --out wrote")

    def measure(self) -> Any:
        """Return the benchmark's result."""
        if self.what == "rtv":
            from medfe.benchmark.smoothing import benchmark_rtv

            return benchmark_rtv(self.repeats, self.images)
        if self.what == "app":
            from medfe.benchmark.app import benchmark_app

            return benchmark_app(self.requests, self.visitors)
        if self.what in ("forward", "backward"):
            return self.measure_generator()
        from medfe.benchmark.scaling import benchmark_scaling
        from medfe.benchmark.step import benchmark_data, benchmark_step

        precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed" if self.precision == "bfloat16" else "32-true"
        if self.what == "scaling":
            return benchmark_scaling(self.preset, precision, self.batch_size, self.repeats)
        if self.what == "data":
            return benchmark_data(self.preset, precision, self.data, self.repeats)
        return benchmark_step(
            self.preset, precision, self.batch_size, self.repeats,
            compiled=self.compile, checkpointing=self.checkpointing,
        )  # fmt: skip

    def measure_generator(self) -> Any:
        """Return the result of forward or backward."""
        from medfe.benchmark.forward import benchmark_forward

        result, convolutions = benchmark_forward(
            self.preset, self.precision, self.batch_size or 1, self.repeats,
            backward=self.what == "backward", compiled=self.compile, checkpointing=self.checkpointing,
        )  # fmt: skip
        if self.list_convolutions:
            print("\n".join(f"{item.flops / 1e6:10.1f} MFLOP  {item}" for item in convolutions))
        return result
