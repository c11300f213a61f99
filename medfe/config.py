"""Every setting of the project: typed, documented, checked, and readable without torch.

A preset fixes the size of the networks, the losses and the optimizer; an arm fixes what the texture and structure
features are compared with (see `medfe.targets`). `RunConfig.create` joins the two into all that a training needs.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medfe.errors import MedfeError

PresetName = Literal["paper", "faces128", "faces64", "tiny"]
Head = Literal["norm_lrelu", "tanh", "linear"]
Convention = Literal["paper", "published"]
AutoencoderKind = Literal["texture", "structure"]
Precision = Literal["auto", "32-true", "64-true", "bf16-mixed", "16-mixed"]
DecayRate = Annotated[float, Field(ge=0, lt=1)]
MaskKind = Literal["center", "box", "brush", "irregular_thin", "irregular_medium", "irregular_thick"]

PRESETS: tuple[PresetName, ...] = get_args(PresetName)
PRECISIONS = tuple(name for name in get_args(Precision) if name != "auto")
AUTOENCODER_KINDS: tuple[AutoencoderKind, ...] = get_args(AutoencoderKind)
ARMS = ("low_resolution", "autoencoder", "random_encoder", "block_dct", "none")
AUTOENCODER_ARMS = ("autoencoder", "random_encoder")
"""Arms that compare with codes of auto-encoders, which they need."""
GRID_STRIDE = 8  # texture, structure and equalization live at image_size / 8
RGB_MEAN = (123 / 255, 104 / 255, 117 / 255)  # the colour that fills the hole before the encoder sees it

SettingsT = TypeVar("SettingsT", bound="Settings")


class Settings(BaseModel):
    """Base of all settings: immutable, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def replace(self: SettingsT, **changes: Any) -> SettingsT:
        """Return a copy with `changes`, checked again.

        Raises:
            MedfeError: naming every setting that is wrong.
        """
        return parse(type(self), {**self.model_dump(), **changes})


def parse(kind: type[SettingsT], values: dict[str, Any], source: str = "") -> SettingsT:
    """Build settings of type `kind` from `values`; all faults are reported together, with `source` named.

    Raises:
        MedfeError: naming every setting that is wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            name = ".".join(map(str, fault["loc"]))
            if fault["type"] == "extra_forbidden":
                faults.append(f"{name}: unknown setting, {_meant(kind, name)}")
                continue
            found = f", found {fault['input']!r}" if name and fault["type"] != "missing" else ""
            faults.append(f"{name or kind.__name__}: {fault['msg'].removeprefix('Value error, ')}{found}")
        raise MedfeError((f"{source}: " if source else "") + "; ".join(faults)) from None


def _meant(kind: type[BaseModel], name: str) -> str:
    """Return which settings could be meant by a name that is none of `kind`'s."""
    names = _setting_names(kind)
    last = name.rpartition(".")[2]
    near = [one for one in names if one.rpartition(".")[2] == last] or difflib.get_close_matches(name, names, n=1)
    return f"expected {'' if near else 'one of: '}{' or '.join(near) if near else ', '.join(names)}"


def _setting_names(kind: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += _setting_names(inner, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def check_preset(name: str) -> PresetName:
    """Return `name` if it is a preset.

    Raises:
        MedfeError: naming the presets that exist.
    """
    for preset in PRESETS:
        if preset == name:
            return preset
    raise MedfeError(f"unknown preset {name!r}, expected one of: {', '.join(PRESETS)}")


class GeneratorConfig(Settings):
    """Size and convention of the generator and its critics."""

    image_size: int = Field(256, ge=64, multiple_of=32)
    """Side of the square image, pixels."""
    base_channels: int = Field(64, ge=1)
    """Channels after the first stage of the encoder; the deep stages have eight times as many."""
    feature_channels: int = Field(256, ge=1)
    """Channels of the structure and the texture feature, and of the codes they are compared with."""
    head: Head = "norm_lrelu"
    """What follows the 1×1 convolution that makes a feature: instance normalisation and leaky ReLU, tanh, or nothing.

    In convention `published`, tanh has an instance normalisation before it, as in the published code.
    """
    convention: Convention = "paper"
    """`paper`: as the papers say. `published`: as the released code computes, defects included."""
    equalization_sigma: float = Field(1.5, gt=0)
    """Standard deviation of the spatial Gaussian of the equalization, cells of the feature grid."""
    checkpointing: bool = False
    """Recompute the filling stacks in the backward pass: a fifth to a quarter more time, less memory from several
    images on."""

    @property
    def grid_size(self) -> int:
        """Side of the feature grid, cells: image_size / 8."""
        return self.image_size // GRID_STRIDE

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels after each of the six stages of the encoder."""
        return tuple(self.base_channels * factor for factor in (1, 2, 4, 8, 8, 8))

    @property
    def stage_sizes(self) -> tuple[int, ...]:
        """Side after each of the six stages: a stage halves only an even size, and to no less than 4."""
        sizes = [self.image_size]
        for _ in self.stage_channels:
            side = sizes[-1]
            sizes.append(side // 2 if side % 2 == 0 and side // 2 >= 4 else side)
        return tuple(sizes[1:])

    @property
    def local_crop(self) -> int:
        """Side of the local critic's crop, pixels: image_size / 4, at least 32."""
        return max(self.image_size // 4, 32)

    @classmethod
    def preset(cls, name: str) -> GeneratorConfig:
        """Return the generator of a preset: `paper`, `faces128`, `faces64` or `tiny`.

        Raises:
            MedfeError: for another name.
        """
        image_size, base_channels = {
            "paper": (256, 64), "faces128": (128, 24), "faces64": (64, 32), "tiny": (64, 8),
        }[check_preset(name)]  # fmt: skip
        return cls(image_size=image_size, base_channels=base_channels, feature_channels=4 * base_channels)


class AutoencoderConfig(Settings):
    """Size of one convolutional auto-encoder, whose code is a target of the texture or the structure feature."""

    kind: AutoencoderKind
    """`texture`: almost lossless, code at the bottleneck. `structure`: code behind a bottleneck four times smaller."""
    image_size: int = Field(256, ge=64, multiple_of=32)
    """Side of the square image, pixels."""
    base_channels: int = Field(32, ge=1)
    """Channels of the first convolution; doubled by each downsampling."""
    max_channels: int = Field(256, ge=1)
    """Widths never exceed it."""
    code_channels: int = Field(256, ge=1)
    """Channels of the code, on the grid of image_size / 8."""

    @property
    def downsamplings(self) -> int:
        """Number of stride-2 convolutions: 3 (code at the bottleneck) or 5 (code two upsamplings behind it)."""
        return 3 if self.kind == "texture" else 5

    @classmethod
    def matching(cls, generator: GeneratorConfig, kind: AutoencoderKind) -> AutoencoderConfig:
        """Return the auto-encoder whose code has the shape of the generator's features."""
        channels = generator.feature_channels
        return cls(kind=kind, image_size=generator.image_size, max_channels=channels, code_channels=channels)


class RtvConfig(Settings):
    """Parameters of the relative total variation smoothing (Xu et al. 2012), named as in MATLAB's `tsmooth`."""

    smoothness: float = Field(0.015, gt=0)
    """Weight of the smoothness term (lambda of `tsmooth`, which halves it)."""
    sigma: float = Field(3.0, gt=0)
    """Size of the texture to remove at 256 pixels; scaled by the photograph's shorter side / 256, before the crop, and
    halved in each iteration."""
    sharpness: float = Field(0.001, gt=0)
    """Floor of the gradient magnitude: smaller keeps sharper edges."""
    iterations: int = Field(3, ge=1)
    """Number of re-weighted solves."""


class TargetConfig(Settings):
    """What the texture and structure features are compared with: the arm, and its knobs."""

    arm: str = "low_resolution"
    """One of the five arms, or `module:Class` of a user's own `medfe.targets.base.Target`."""
    weight: float = Field(4.0, ge=0)
    """Weight of the intermediate term in the objective."""
    structure_image: Literal["rtv", "image"] = "rtv"
    """Image that the structure target is made of, for arms that shrink or transform an image."""
    coefficients: int | None = Field(None, ge=1, le=192)
    """`block_dct`: number of the 192 coefficients a block keeps; default min(192, feature_channels)."""
    autoencoders: Path | None = None
    """`autoencoder`, `random_encoder`: folder with texture.safetensors and structure.safetensors."""
    rtv: RtvConfig = RtvConfig()
    """Parameters of the smoothing."""
    seed: int = Field(0, ge=-(2**63), lt=2**63)
    """Seed of what an arm draws at random: the encoders of `random_encoder`, the isometry of `block_dct`."""

    @model_validator(mode="after")
    def _arm_exists(self) -> TargetConfig:
        if self.arm not in ARMS and ":" not in self.arm:
            raise ValueError(f"unknown arm {self.arm!r}, expected one of: {', '.join(ARMS)}, or module:Class")
        return self

    @property
    def default_head(self) -> Head:
        """Head of the generator that belongs to the arm, unless a run sets another."""
        heads: dict[str, Head] = {"autoencoder": "tanh", "random_encoder": "tanh", "block_dct": "linear"}
        return heads.get(self.arm, "norm_lrelu")

    @property
    def default_weight(self) -> float:
        """Weight that belongs to the arm: 32 where all channels are compared, 4 for RGB, 0 for no target."""
        weights = {"autoencoder": 32.0, "random_encoder": 32.0, "block_dct": 32.0, "none": 0.0}
        return weights.get(self.arm, 4.0)


class LossConfig(Settings):
    """Weights of the terms of the objective. The intermediate term's weight stands with its target."""

    l1_image: float = Field(1.0, ge=0)
    """Mean absolute difference over the image."""
    l1_hole: float = Field(0.0, ge=0)
    """Mean absolute difference over the hole alone."""
    adversarial: float = Field(0.2, ge=0)
    """Relativistic average least-squares term, global and local critic summed."""
    perceptual: float = Field(0.2, ge=0)
    """L1 of backbone features, summed over layers."""
    style: float = Field(250.0, ge=0)
    """L1 of Gram matrices of backbone features, summed over layers; 0 leaves it out."""
    backbone: Literal["vgg16", "efficientnet_lite0"] = "vgg16"
    """Frozen network of the perceptual and style terms. Judges (Lite2, Inception, LPIPS) are not offered here."""
    backbone_weights: Path | None = None
    """File with the backbone's weights; default: package or torch's cache."""
    upsample: int = Field(1, ge=1)
    """Images are enlarged by this factor before the backbone."""
    shift: int = Field(0, ge=0)
    """Images are shifted at random by 0 to this many pixels before the backbone, so that no phase of a strided stem
    goes unseen."""
    composite: bool = False
    """Critics and backbone see the output in the hole and the photograph around it, as the user of a filled image
    does. False, as published: the whole output."""


class OptimizerConfig(Settings):
    """Adam, as published, with the schedule stretched over the run."""

    learning_rate: float = Field(2e-4, gt=0)
    """Learning rate of generator and target."""
    critic_learning_rate: float = Field(2e-4, gt=0)
    """Learning rate of both critics."""
    betas: tuple[DecayRate, DecayRate] = (0.5, 0.999)
    """Adam's decay rates."""
    schedule: tuple[Annotated[float, Field(ge=0)], ...] = Field((1.0, 1.0, 0.75, 0.5, 0.25), min_length=1)
    """Factors of the learning rates over equal parts of the run (the published five epochs)."""
    ema_decay: float = Field(0.999, ge=0, lt=1)
    """Limit of the decay of the moving average of the generator's weights.

    After s steps the decay is at most (1 + s) / (10 + s): 0.993 after 1250 steps, 0.999 from 8990 on.
    """


class DataConfig(Settings):
    """Which photographs, and how a training sample is cut from them."""

    root: Path | None = None
    """Folder of images, searched recursively."""
    layout: Literal["folder", "celeba"] = "folder"
    """`celeba`: img_align_celeba with list_eval_partition.txt and MEDFE+CAE's crop."""
    split: Literal["all", "train", "val", "test"] = "all"
    """Part of the folder: by CelebA's official list; else by folders train, val, test, or by a hash of the names."""
    crop: Literal["center", "random"] = "center"
    """Square that is cut out: the largest central one, shrunk, or a random one of image_size."""
    resize: float = Field(1.0, ge=1)
    """`random`: the shorter side is shrunk to this multiple of image_size first (1.117 is 286 / 256)."""
    flip: bool = True
    """Mirror each sample with a probability of one half."""
    color_jitter: float = Field(0.0, ge=0, lt=1)
    """s: brightness, contrast and saturation times a factor in [1 − s, 1 + s], hue turned by up to s/10 of a circle."""
    center_share: float = Field(0.5, ge=0, le=1)
    """Share of centre masks; the others are irregular, a third each thin, medium and thick."""
    mask_dir: Path | None = None
    """Folder of mask files that replaces the generated masks."""
    mask_hole: Literal["white", "black"] = "white"
    """Colour of the hole in the mask files."""
    cache: Path | None = None
    """Folder for what is computed once (structure images); default: the user's cache folder."""


class RunConfig(Settings):
    """All that a training of the generator needs."""

    preset: PresetName = "paper"
    """Preset that the run started from."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of initial weights, data order, masks and crops."""
    generator: GeneratorConfig = GeneratorConfig()
    """Networks."""
    target: TargetConfig = TargetConfig()
    """Arm."""
    losses: LossConfig = LossConfig()
    """Weights of the terms."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer and moving average."""
    data: DataConfig = DataConfig()
    """Photographs and masks."""
    initial_weights: Path | None = None
    """Weight file of a generator with the same settings to start from, instead of random weights."""
    batch_size: int = Field(1, ge=1)
    """Images a step, over all devices together."""
    max_steps: int = Field(813_850, ge=1)
    """Steps of the whole run; the schedule ends there. Default: five epochs of CelebA's training part, as published."""
    precision: Precision = "auto"
    """`auto`: what the variable MEDFE_PRECISION names, else bf16-mixed where the device is fast at it, or 32-true."""
    workers: int = Field(1, ge=0)
    """Processes that load data, for each device."""
    compile: bool = False
    """Compile the generator with torch.compile."""
    save_every: int = Field(500, ge=1)
    """Steps between checkpoints."""
    log_every: int = Field(50, ge=1)
    """Steps between rows of metrics.jsonl."""

    @model_validator(mode="after")
    def _coefficients_fit(self) -> RunConfig:
        count, channels = self.target.coefficients, self.generator.feature_channels
        if count is not None and count > channels:
            raise ValueError(f"target.coefficients: found {count}, expected at most the {channels} feature channels")
        return self

    @model_validator(mode="after")
    def _shift_fits(self) -> RunConfig:
        shift, side = self.losses.shift, self.generator.image_size * self.losses.upsample
        if shift >= side:  # the border that comes in is mirrored
            raise ValueError(f"losses.shift: found {shift}, expected less than the {side} pixels of the enlarged image")
        return self

    @classmethod
    def create(cls, preset: str = "paper", arm: str = "low_resolution", **changes: Any) -> RunConfig:
        """Return the settings of a preset and an arm, with the arm's head and weight, then `changes` on top.

        `changes` name fields of `RunConfig`; where a field holds settings of its own, a dict changes part of it.

        Raises:
            MedfeError: naming every setting that is wrong.
        """
        name = check_preset(preset)
        target = parse(TargetConfig, {"arm": arm})
        values: dict[str, Any] = {
            "preset": name,
            "generator": {**GeneratorConfig.preset(name).model_dump(), "head": target.default_head},
            "target": {"arm": arm, "weight": target.default_weight, "structure_image": _structure_image(arm)},
            "data": {"center_share": 1.0 if name == "paper" else 0.5},
            **_SMALL_PRESETS.get(name, {"save_every": 2000}),  # a checkpoint of `paper` has 2 GB
        }
        return parse(cls, _changed(values, changes))


def _changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        before = merged.get(key)
        merged[key] = _changed(before, change) if isinstance(before, dict) and isinstance(change, dict) else change
    return merged


def _structure_image(arm: str) -> str:
    return "image" if arm in (*AUTOENCODER_ARMS, "none") else "rtv"


# VGG's published weights (0.2 and 250) do not carry over to EfficientNet-Lite0; these were chosen on held-out faces and
# are the same for every arm. Lite0's stride-2 stem does not see a dotted pattern, hence upsample and shift. The critics
# learn at half the generator's rate, else they win at once.
_SMALL_LOSSES = {
    "l1_image": 1.0, "l1_hole": 2.0, "adversarial": 0.05, "perceptual": 0.1, "style": 0.0,
    "backbone": "efficientnet_lite0", "upsample": 2, "shift": 3,
}  # fmt: skip
_SMALL_PRESETS: dict[str, dict[str, Any]] = {
    # Few steps want a higher rate than the published one, which the experiments on faces64 keep: see plan.md.
    "faces128": {
        "batch_size": 8, "max_steps": 7500, "optimizer": {"learning_rate": 8e-4, "critic_learning_rate": 4e-4},
    },
    "faces64": {"batch_size": 16, "max_steps": 1250, "optimizer": {"critic_learning_rate": 1e-4}},
    "tiny": {
        "batch_size": 4, "max_steps": 100, "save_every": 50, "log_every": 10,
        "optimizer": {"critic_learning_rate": 1e-4},
    },
}  # fmt: skip
for _values in _SMALL_PRESETS.values():
    _values["losses"] = _SMALL_LOSSES


class AutoencoderRunConfig(Settings):
    """All that a training of one auto-encoder needs; the recipe is that of MEDFE+CAE's authors."""

    autoencoder: AutoencoderConfig
    """Network."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of initial weights, data order and crops."""
    data: DataConfig = DataConfig(crop="random", resize=286 / 256)
    """Photographs: random crops and flips, no masks."""
    l1: float = Field(10.0, gt=0)
    """Weight of the reconstruction's mean absolute difference."""
    optimizer: OptimizerConfig = OptimizerConfig(schedule=(1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1))
    """Adam, ten equal parts with falling rate. There is no critic, and no moving average: the last weights count."""
    batch_size: int = Field(32, ge=1)
    """Images a step."""
    max_steps: int = Field(50_870, ge=1)
    """Steps of the whole run (paper: ten epochs of CelebA's training part)."""
    precision: Precision = "auto"
    """`auto`: what the variable MEDFE_PRECISION names, else bf16-mixed where the device is fast at it, or 32-true."""
    workers: int = Field(1, ge=0)
    """Processes that load data."""
    save_every: int = Field(500, ge=1)
    """Steps between checkpoints."""
    log_every: int = Field(50, ge=1)
    """Steps between rows of metrics.jsonl."""

    @classmethod
    def create(cls, preset: str, kind: AutoencoderKind, **changes: Any) -> AutoencoderRunConfig:
        """Return the settings of a preset's auto-encoder, with `changes` on top, as `RunConfig.create`.

        Raises:
            MedfeError: naming every setting that is wrong.
        """
        network = AutoencoderConfig.matching(GeneratorConfig.preset(preset), kind).model_dump()
        values: dict[str, Any] = {
            "autoencoder": network,
            "data": {"crop": "random", "resize": 286 / 256},
            "optimizer": {"schedule": (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)},
        }
        if preset != "paper":  # 60,000 images
            values["max_steps"] = 100 if preset == "tiny" else 1875
        return parse(cls, _changed(values, changes))
