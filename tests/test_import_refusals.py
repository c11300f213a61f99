"""Files that are no checkpoint of the released code are named, and an import that fails leaves nothing behind."""

import pickle

import pytest
import torch

from medfe import import_published
from medfe.errors import MedfeError
from medfe.import_published import FEEDINGS
from medfe.inference import Inpainter

from .released import checkpoint, save, small_config


@pytest.fixture
def quick(monkeypatch):
    """Small networks, and one feeding instead of eight forward passes."""
    monkeypatch.setattr(import_published, "published_config", small_config)
    monkeypatch.setattr(import_published, "FEEDINGS", FEEDINGS[:1])


def swap(parts):
    parts[0], parts[1] = parts[1], parts[0]


def give_critic(parts):
    parts[0] = {"model.0.weight_orig": torch.zeros(64, 3, 4, 4)}


def give_another_network(parts):
    parts[2] = {"conv1.weight": torch.zeros(64, 3, 7, 7)}


def lose_tensor(parts):
    del parts[1]["Decoder_2.model.1.bias"]


def cut_tensor(parts):
    parts[0]["Encoder_1.model.0.weight"] = parts[0]["Encoder_1.model.0.weight"][:, :4]


def flatten_mask_weights(parts):
    parts[2]["pc_block.cov_3.0.conv.mask_conv.weight"] = torch.ones(16)


def spoil_tensor(parts):
    parts[2]["pc_block.up.conv.weight"][0, 0] = float("nan")


def lose_read_out(parts):
    del parts[2]["loss.0.down_model.0.bias"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (swap, r"EN\.pth: expected the released code's encoder \(EN\.pth\), found its decoder$"),
        (give_critic, r"EN\.pth: expected the released code's encoder \(EN\.pth\), found its critic$"),
        (give_another_network, r"MEDFE\.pth: expected .* bottleneck .*, found 1 tensors of none of its networks$"),
        (lose_tensor, r"DE\.pth: found 21 of 22 tensors of the released code, missing Decoder_2\.model\.1\.bias$"),
        (cut_tensor, r"EN\.pth: Encoder_1\.model\.0\.weight is \(4, 4, 4, 4\), expected \(4, 6, 4, 4\)$"),
        (flatten_mask_weights, r"MEDFE\.pth: .*mask_conv\.weight is \(16,\), expected \(16, 16, 3, 3\)$"),
        (spoil_tensor, r"MEDFE\.pth: found values that are not finite in pc_block\.up\.conv\.weight, expected"),
        (lose_read_out, r"MEDFE\.pth: found 1 of 2 tensors .* missing loss\.0\.down_model\.0\.bias$"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_wrong_files_are_named_with_found_and_expected(tmp_path, damage, message):
    parts = checkpoint("medfe")
    damage(parts)
    refuses(tmp_path, save(tmp_path, parts), message)


@pytest.mark.usefixtures("quick")
def test_unreadable_files_are_named(tmp_path):
    paths = save(tmp_path, checkpoint("medfe"))
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: len(whole) // 2])
    refuses(tmp_path, paths, r"DE\.pth: not a readable file of tensors")
    paths[1].write_bytes(pickle.dumps({"net": print}, 2))
    refuses(tmp_path, paths, r"DE\.pth: not a readable file of tensors")
    paths[1].unlink()
    refuses(tmp_path, paths, r"DE\.pth: no such file, expected the released code's decoder \(DE\.pth\)$")


def refuses(folder, paths, message):
    """Check that importing raises one line and leaves no trace."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(MedfeError, match=message) as error:
        import_published.import_published(*paths, folder / "run")
    assert "\n" not in str(error.value)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.usefixtures("quick")
def test_a_folder_in_use_is_left_alone(tmp_path):
    paths, run = save(tmp_path, checkpoint("medfe")), tmp_path / "run"
    run.mkdir()
    (run / "state.ckpt").write_text("a training")
    refuses(tmp_path, paths, r"run: exists and is not empty, expected a new folder$")
    (run / "state.ckpt").unlink()
    import_published.import_published(*paths, run)  # an empty one will do
    assert Inpainter.from_pretrained(run, device="cpu").image_size == 256


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_stays_of_an_import_that_breaks_off_while_writing(tmp_path, monkeypatch, error):
    paths = save(tmp_path, checkpoint("medfe_cae"))
    before = sorted(tmp_path.rglob("*"))
    write = import_published.save_weights

    def break_off(path, *arguments):
        if path.stem == "structure":
            raise error
        write(path, *arguments)

    monkeypatch.setattr(import_published, "save_weights", break_off)
    with pytest.raises(type(error)):
        import_published.import_published(*paths, tmp_path / "run")
    assert sorted(tmp_path.rglob("*")) == before
