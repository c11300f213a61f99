"""Weight files: what goes in comes out, whole or not at all, and nothing else is taken for one."""

import os
import pickle
import stat

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medfe import weightfiles
from medfe.errors import MedfeError
from medfe.weightfiles import commit_words, fill, load_weights, save_weights

METADATA = {"kind": "generator", "config": {"image_size": 64, "name": "ä"}, "steps": [1, 2], "none": None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "weights.safetensors"


def tensors():
    torch.manual_seed(0)
    return {"a": torch.randn(3, 4), "b": torch.randn(2, 2, 2, 2), "count": torch.tensor(7)}


def test_tensors_and_metadata_come_back_bit_for_bit(path):
    save_weights(path, tensors(), METADATA)
    file = load_weights(path, "generator")
    assert file.metadata == METADATA
    assert file.tensors.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert torch.equal(file.tensors[name], tensor)
        assert file.tensors[name].dtype == tensor.dtype


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"commit": "0123456789ab"}, "commit 0123456789ab"),
        ({}, "commit unknown"),
        ({"commit": None}, "commit unknown"),
        ({"commit": "0123456789ab ba9876543210"}, "commits 0123456789ab, then ba9876543210"),
    ],
)
def test_commits_are_told_in_their_order(metadata, words):
    assert commit_words(metadata) == words


def test_float16_halves_the_file_and_comes_back_as_float32(path):
    weights = {"a": torch.randn(100, 100)}
    save_weights(path, weights, METADATA)
    whole = path.stat().st_size
    save_weights(path, {**weights, "count": torch.tensor(70_000)}, METADATA, dtype=torch.float16)
    assert path.stat().st_size < 0.55 * whole
    file = load_weights(path)
    assert file.tensors["a"].dtype == torch.float32
    assert torch.equal(file.tensors["a"], weights["a"].half().float())
    assert file.tensors["count"] == 70_000  # more than float16 can hold: whole numbers stay what they are


def test_noise_that_is_divided_by_stays_in_float32(path):
    """Of `published`: its window sums nearly cancel."""
    noise = torch.randn(2, 2, 3, 3)
    save_weights(path, {"generator.a.mask_weight": noise, "generator.a.weight": noise}, METADATA, dtype=torch.float16)
    read = load_weights(path).tensors
    assert torch.equal(read["generator.a.mask_weight"], noise)
    assert torch.equal(read["generator.a.weight"], noise.half().float())


def test_shared_transposed_and_channels_last_tensors_are_stored_by_their_values(path):
    base = torch.randn(2, 3, 4, 4)
    weights = {
        "a": base,
        "same": base,
        "turned": base.transpose(0, 1),
        "last": base.to(memory_format=torch.channels_last),
    }
    save_weights(path, weights, METADATA)
    for name, tensor in load_weights(path).tensors.items():
        assert torch.equal(tensor, weights[name])


def test_saving_replaces_the_file_and_leaves_no_other(path):
    for value in (1.0, 2.0):
        save_weights(path, {"a": torch.full((1,), value)}, METADATA)
    assert load_weights(path).tensors["a"] == 2
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_failure_while_saving_keeps_the_old_file(path, monkeypatch):
    save_weights(path, {"a": torch.zeros(1)}, METADATA)
    with pytest.raises(TypeError):
        save_weights(path, {"a": torch.ones(1)}, {"kind": object()})

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weightfiles.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_weights(path, {"a": torch.ones(1)}, METADATA)
    assert load_weights(path).tensors["a"] == 0
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_others_may_read_the_file_as_the_umask_allows(path):
    before = os.umask(0o022)
    try:
        save_weights(path, tensors(), METADATA)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_a_pickle_is_not_opened_whatever_its_name(path, tmp_path):
    marker = tmp_path / "executed"
    path.parent.mkdir()
    for content in (pickle.dumps(Malicious(marker)), pickle.dumps({"a": torch.zeros(1), "b": Malicious(marker)})):
        path.write_bytes(content)
        with pytest.raises(MedfeError, match=r"weights\.safetensors: not a readable safetensors file"):
            load_weights(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(MedfeError, match=r"weights\.safetensors: not a readable safetensors file"):
        load_weights(path)
    assert not marker.exists()


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_named_in_one_line(path, keep):
    save_weights(path, tensors(), METADATA)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(MedfeError, match=r"weights\.safetensors: not a readable safetensors file") as error:
        load_weights(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(MedfeError, match="no such weight file"):
            load_weights(missing)


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"medfe": "[1]"}, {"medfe": "{"}])
def test_safetensors_of_somebody_else_are_refused(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(MedfeError, match=r"other\.safetensors: "):
        load_weights(path)


def test_a_file_of_another_kind_is_refused(path):
    save_weights(path, tensors(), {"kind": "texture"})
    with pytest.raises(MedfeError, match="holds a 'texture', expected a 'generator'"):
        load_weights(path, "generator")


def test_filling_loads_every_tensor(tmp_path):
    module, other = nn.Linear(3, 2), nn.Linear(3, 2)
    fill(module, other.state_dict(), tmp_path)
    assert torch.equal(module.weight, other.weight)
    assert torch.equal(module.bias, other.bias)


@pytest.mark.parametrize(("change", "complaint"), [
    ({"bias": None}, "tensor bias is missing"),
    ({"more": torch.zeros(1)}, "tensor more is not part of the network"),
    ({"weight": torch.zeros(3, 2)}, r"weight is \(3, 2\), expected \(2, 3\)"),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_named_and_nothing_is_loaded(tmp_path, change, complaint):
    module = nn.Linear(3, 2)
    before = module.weight.clone()
    given = {name: tensor for name, tensor in {**nn.Linear(3, 2).state_dict(), **change}.items() if tensor is not None}
    with pytest.raises(MedfeError, match=rf"file: {complaint}"):
        fill(module, given, tmp_path / "file")
    assert torch.equal(module.weight, before)
