"""The 3-of-256 argument on trained models: what of a feature the loss sees, what it holds, and what is used of it.

MEDFE reads three colours out of a feature by one matrix W, so the gradient of the intermediate term lies in the row
space of W, of dimension 3, at every position: with all channels counted equal, 3 of 256. That is algebra and needs no
experiment. What does: whether the other directions hold less of the photograph (`probe`), are fewer in effect
(`participation_ratio`), or matter less to the result (`intervention_effects`). Every arm is measured alike.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medfe.analysis.interventions import INTERVENTIONS, intervention_effects
from medfe.analysis.probe import FOLDS, probe
from medfe.analysis.spectra import (
    Array,
    complement,
    linear_cka,
    numerical_rank,
    participation_ratio,
    random_subspace,
    rows_by_channel,
    singular_directions,
)
from medfe.analysis.trained import load_target, structure_images
from medfe.config import GRID_STRIDE
from medfe.data.files import shuffled
from medfe.data.folder import EvaluationPhotographs
from medfe.data.images import center_square, load_image, resize, to_tensor
from medfe.data.masks import Mask, center_mask, mask_to_tensor
from medfe.errors import MedfeError
from medfe.inference import Inpainter
from medfe.models.branches import Features
from medfe.models.generator import Generator
from medfe.targets import Target

FEATURES = ("structure", "texture")
READOUT_DIMENSION = 3
SUBSPACES = ("loss", "principal", "random")
PARTS = ("all", *(f"{name}_{side}" for name in SUBSPACES for side in ("inside", "outside")))
_BATCH = 32


class Measured(NamedTuple):
    """Features, their goals, and the gradient of the intermediate term at them, each N×C×G×G."""

    features: Features
    goals: Features
    gradients: Features


def channel_report(
    run_folder: str | Path, photographs: Sequence[Path] | Path, *, n: int = 256, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Measure a trained model's features on photographs with centre holes; see `measure_channels`.

    Args:
        run_folder: run folder with config.json and generator.safetensors, a weight file, or a shipped model's name.
        photographs: a folder, of which `n` readable ones are chosen by the hash of their names, or files, of which the
            first `n` are taken; their central squares are used.
        n: number of photographs.
        seed: of folds, permutation and random subspace.

    Raises:
        MedfeError: if files of the model or its target are missing, or there are fewer than four photographs.
    """
    inpainter = Inpainter.from_pretrained(run_folder, "cpu")
    size = inpainter.image_size
    if isinstance(photographs, Path):
        readable = EvaluationPhotographs(photographs, size, limit=n)
        images = {item["path"]: item["image"] for item in map(readable.__getitem__, range(len(readable)))}
        squares = [images[str(path)] for path in shuffled(readable.paths, photographs)]
    else:
        squares = [to_tensor(resize(center_square(load_image(path)), size)) for path in photographs[:n]]
    if len(squares) < FOLDS:
        raise MedfeError(f"channel report: found {len(squares)} photographs, expected at least {FOLDS}")
    return measure_channels(inpainter, load_target(inpainter), torch.stack(squares), seed=seed)


def measure_channels(
    inpainter: Inpainter, target: Target, images: Tensor, *, intervention_images: int = 64, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Measure what an intermediate loss sees of a model's features, what they hold, and what is used of them.

    Three subspaces of three dimensions, as many as a read-out of colours has, are treated alike in every arm:

    - `loss`: the three leading directions of the intermediate term's gradient over all positions and images. For
      `low_resolution` that is the row space of W exactly. Arm `none` has none: NaN.
    - `principal`: the three leading directions of the feature's covariance.
    - `random`: uniformly drawn, the same for all models of equal width and seed.

    Args:
        inpainter: the model.
        target: what it was trained against.
        images: N×3×S×S in [-1, 1], at least four.
        intervention_images: number of images on which `intervention_effects` are measured, the costly part.
        seed: of folds, permutation and random subspace.

    Returns:
        `channels`, a row for each feature and channel:

        - `feature`, `channel`
        - `variance`: over positions and images
        - `gradient_energy`: mean over positions and images of (∂L/∂F_c)², L the unweighted intermediate term of one
          image; `gradient_share`: its share of all channels. Where L is the L1 distance of F itself, the gradient is a
          sign and all shares are equal by construction.

        `summary`, a row for each feature:

        - `feature`, `arm`, `images`
        - `gradient_norm`: mean over images of ‖∂L/∂F‖; `gradient_norm_both`: of both features stacked
        - `gradient_rank`: numerical rank of ∂L/∂F, positions × channels, in float64
        - `gradient_participation`, `feature_participation`: `participation_ratio` of ∂L/∂F (not centred: the mean of a
          gradient trains too) and of F
        - `cka`, `cka_hole`: `linear_cka` of F and its goal, over all cells and those of the hole
        - `probe_AREA_PART`: `probe` in the cells of the `hole` and the `known` ones, of PART of the feature: `all`, or
          `loss_inside`, `loss_outside`, `principal_inside`, … for a subspace and its complement
        - `KIND_PART`, `KIND_size_PART`: change and size of `intervention_effects` with KIND `permuted` or `averaged`,
          on the first images
    """
    generator, grid = inpainter.generator, inpainter.generator.config.grid_size
    hole = center_mask(inpainter.image_size)
    images = images.to(inpainter.device)
    masks = mask_to_tensor(hole)[None].to(images).expand(len(images), -1, -1, -1)
    measured = features_and_gradients(generator, target, images, masks)
    hole_cells: Mask = hole.reshape(grid, GRID_STRIDE, grid, GRID_STRIDE).max(axis=(1, 3))
    both = torch.cat(list(measured.gradients), dim=1)

    bases: dict[str, dict[str, Array]] = {}
    channels, summary = [], []
    for name in FEATURES:
        feature, goal, gradient = (getattr(tensors, name) for tensors in measured)
        bases[name] = component_bases(rows_by_channel(feature), rows_by_channel(gradient), seed)
        channels.append(_channel_table(name, feature, gradient))
        summary.append(
            {"feature": name, "arm": target.config.arm, "images": len(images)}
            | {"gradient_norm": _mean_norm(gradient), "gradient_norm_both": _mean_norm(both)}
            | _dimensions(feature, gradient)
            | _alignment(feature, goal, hole_cells)
            | _probes(feature, images, hole_cells, bases[name], seed)
        )
    few = slice(intervention_images)
    effects = intervention_effects(generator, images[few], masks[few], bases, seed=seed)
    for row in summary:
        for kind in INTERVENTIONS:
            found = {part: kinds[kind] for part, kinds in effects[str(row["feature"])].items()}
            row |= {f"{kind}_{part}": found[part].change if part in found else np.nan for part in PARTS}
            row |= {f"{kind}_size_{part}": found[part].size if part in found else np.nan for part in PARTS}
    return {"channels": pd.concat(channels, ignore_index=True), "summary": pd.DataFrame(summary)}


def features_and_gradients(generator: Generator, target: Target, images: Tensor, masks: Tensor) -> Measured:
    """Return features and goals of images, and the gradient of each image's own intermediate term, in float64.

    Args:
        generator: in evaluation mode.
        target: of any arm.
        images: N×3×S×S in [-1, 1].
        masks: N×1×S×S, 1 = hole.
    """
    precise = copy.deepcopy(target).double()
    found = []
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        with torch.no_grad():
            output = generator(batch, masks[start : start + _BATCH])
        goals = precise.goals(batch.double(), structure_images(batch, target).double())
        leaves = Features(*(f.double().requires_grad_() for f in (output.structure, output.texture)))
        found.append(Measured(leaves, goals, intermediate_gradient(precise, leaves, goals)))
    return Measured(
        *(Features(*(torch.cat(part) for part in zip(*kind, strict=True))) for kind in zip(*found, strict=True))
    )


def intermediate_gradient(target: Target, features: Features, goals: Features) -> Features:
    """Return ∂L/∂F for both features, L the unweighted intermediate term of one image; zero where there is none.

    The term is a mean over the batch, so an image's own gradient is that of the batch times its number of images.

    Args:
        target: of any arm.
        features: leaves that require gradients, each N×C×G×G.
        goals: what they are compared with.
    """
    loss = target.loss(features, goals)
    if not loss.requires_grad:
        return Features(*(torch.zeros_like(feature) for feature in features))
    gradients = torch.autograd.grad(loss * len(features.structure), features)
    return Features(*gradients)


def component_bases(rows: Array, gradient_rows: Array, seed: int) -> dict[str, Array]:
    """Return the orthonormal basis of each of `PARTS` that exists, by name.

    Args:
        rows: a feature, positions × channels.
        gradient_rows: gradient of the intermediate term there, all zero if there is no such term.
        seed: of the random subspace.
    """
    channels = rows.shape[1]
    bases = {"all": np.eye(channels)}
    subspaces = {
        "principal": _leading(rows - rows.mean(axis=0)), "random": random_subspace(channels, READOUT_DIMENSION, seed),
    }  # fmt: skip
    if gradient_rows.any():
        subspaces["loss"] = _leading(gradient_rows)
    for name, basis in subspaces.items():
        bases |= {f"{name}_inside": basis, f"{name}_outside": complement(basis)}
    return bases


def _leading(rows: Array) -> Array:
    basis: Array = singular_directions(rows)[1][:READOUT_DIMENSION].T
    return basis


def _mean_norm(gradient: Tensor) -> float:
    return float(gradient.flatten(1).norm(dim=1).mean())


def _channel_table(name: str, feature: Tensor, gradient: Tensor) -> pd.DataFrame:
    energy = (rows_by_channel(gradient) ** 2).mean(axis=0)
    share = energy / energy.sum() if energy.any() else np.full_like(energy, np.nan)
    return pd.DataFrame({
        "feature": name, "channel": np.arange(len(energy)), "variance": rows_by_channel(feature).var(axis=0),
        "gradient_energy": energy, "gradient_share": share,
    })  # fmt: skip


def _dimensions(feature: Tensor, gradient: Tensor) -> dict[str, object]:
    rows = rows_by_channel(gradient)
    return {
        "gradient_rank": numerical_rank(rows),
        "gradient_participation": participation_ratio(rows, center=False),
        "feature_participation": participation_ratio(rows_by_channel(feature)),
    }


def _alignment(feature: Tensor, goal: Tensor, hole_cells: Mask) -> dict[str, object]:
    if not goal.numel():
        return {"cka": np.nan, "cka_hole": np.nan}
    pair = [tensor[..., torch.from_numpy(hole_cells)][..., None] for tensor in (feature, goal)]  # N×C×cells×1
    return {
        "cka": linear_cka(rows_by_channel(feature), rows_by_channel(goal)),
        "cka_hole": linear_cka(rows_by_channel(pair[0]), rows_by_channel(pair[1])),
    }


def _probes(
    feature: Tensor, images: Tensor, hole_cells: Mask, bases: Mapping[str, Array], seed: int
) -> dict[str, object]:
    row: dict[str, object] = {}
    for area, cells in (("hole", hole_cells), ("known", ~hole_cells)):
        found = probe(feature, images, cells, bases, seed=seed)
        row |= {f"probe_{area}_{part}": found.get(part, np.nan) for part in PARTS}
    return row
