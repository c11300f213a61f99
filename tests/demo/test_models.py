import pytest
import torch

from demo.models import load_contenders
from medfe.config import GeneratorConfig
from medfe.errors import MedfeError
from medfe.models.generator import build_generator
from medfe.weightfiles import save_weights


@pytest.fixture(scope="module")
def tensors():
    torch.manual_seed(0)
    generator = build_generator(GeneratorConfig.preset("tiny"))
    return {f"generator.{name}": value for name, value in generator.state_dict().items()}


def save(path, tensors, arm):
    config = GeneratorConfig.preset("tiny").model_dump(mode="json")
    save_weights(path, tensors, {"kind": "generator", "config": config, "target": {"arm": arm}})
    return str(path)


def test_panels_are_named_by_arm(tmp_path, tensors):
    files = [save(tmp_path / f"{arm}.safetensors", tensors, arm) for arm in ("autoencoder", "none", "low_resolution")]
    found = load_contenders(files, "cpu", shipped=False)
    assert [contender.title for contender in found] == ["MEDFE+CAE", "MEDFE, no target", "MEDFE"]


def test_models_of_one_arm_are_told_apart_without_showing_their_place(tmp_path, tensors):
    files = [save(tmp_path / run / "generator.safetensors", tensors, "none") for run in ("a", "b", "old/a")]
    folder = str(tmp_path / "a")
    titles = [contender.title for contender in load_contenders([folder, *files[1:]], "cpu", shipped=False)]
    assert titles == ["MEDFE, no target (a) #1", "MEDFE, no target (b)", "MEDFE, no target (a) #3"]


def test_a_model_named_twice_is_compared_once(tmp_path, tensors):
    file = save(tmp_path / "one.safetensors", tensors, "none")
    assert len(load_contenders([file, file], "cpu", shipped=False)) == 1


def test_no_model_and_an_unknown_one_are_errors():
    with pytest.raises(MedfeError, match="no model"):
        load_contenders([], shipped=False)
    with pytest.raises(MedfeError, match="'absent'"):
        load_contenders(["absent"], shipped=False)
