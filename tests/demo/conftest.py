"""Untrained models, as the app holds them."""

import pytest
import torch

from demo.models import Contender
from medfe.config import GeneratorConfig
from medfe.inference import Inpainter
from medfe.models.generator import build_generator


@pytest.fixture(scope="session")
def contenders():
    config = GeneratorConfig.preset("tiny")
    found = []
    for seed, title in enumerate(["MEDFE", "MEDFE+CAE", "MEDFE, no target"]):
        torch.manual_seed(seed)
        found.append(Contender(title, Inpainter(build_generator(config), name=title)))
    return found
