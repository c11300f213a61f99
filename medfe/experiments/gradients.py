"""Strength of the intermediate term: the norm of its gradient in the features, by which weights are matched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from medfe.analysis.trained import load_target, structure_images
from medfe.data.folder import EvaluationPhotographs
from medfe.data.masks import center_mask, mask_to_tensor
from medfe.inference import Inpainter
from medfe.models.branches import Features

PHOTOGRAPHS = 64


def gradient_norm(folder: Path, photographs: Path, *, n: int = PHOTOGRAPHS) -> float:
    """Return the mean over photographs of ‖∂(weight · term)/∂F‖, F both features of one photograph, stacked.

    The run's averaged weights, in evaluation mode and float32; centre masks; central squares.

    Args:
        folder: Run folder.
        photographs: Folder of photographs; `n` of them are taken by the hash of their names.
        n: Number of photographs.

    Raises:
        MedfeError: if files of the run, its target or the photographs are missing.
    """
    inpainter = Inpainter.from_pretrained(folder, "cpu")
    target = load_target(inpainter)
    chosen = EvaluationPhotographs(photographs, inpainter.image_size, limit=n)
    mask = mask_to_tensor(center_mask(inpainter.image_size))[None]  # 1×1×S×S
    norms = []
    for index in range(len(chosen)):
        image = chosen[index]["image"][None]  # 1×3×S×S
        with torch.no_grad():
            output = inpainter.generator(image, mask)
            goals = target.goals(image, structure_images(image, target))
        features = Features(output.structure.detach().requires_grad_(), output.texture.detach().requires_grad_())
        gradients = torch.autograd.grad(target.config.weight * target.loss(features, goals), features)
        norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
    return float(np.mean(norms))
