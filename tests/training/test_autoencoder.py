"""Training an auto-encoder: what it writes, that it goes on, and that a generator can be trained against it."""

import json
import math
import time
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import nn

from medfe import cli
from medfe.config import AutoencoderRunConfig
from medfe.data.folder import EvaluationPhotographs
from medfe.errors import MedfeError
from medfe.models.autoencoder import build_autoencoder
from medfe.targets.autoencoder import load_autoencoder
from medfe.training.autoencoder import over_devices, reconstruction_l1, train_autoencoder
from medfe.weightfiles import read_metadata

from .conftest import metrics

SETTINGS = ("precision=32-true", "batch_size=2", "workers=0", "log_every=1", "autoencoder.base_channels=2")


@pytest.fixture
def train(pictures, capsys):
    def train(out, *options, settings=(), steps=4, kind="texture"):
        code = 0
        try:
            cli.main([
                "train-autoencoder", "--preset", "tiny", "--data", str(pictures), "--out", str(out), "--kind", kind,
                "--accelerator", "cpu", "--max-steps", str(steps), *options, "--set", *SETTINGS, *settings,
            ])  # fmt: skip
        except SystemExit as error:
            code = error.code
        lines = capsys.readouterr().err.strip().splitlines()
        return code, lines[-1] if lines else ""

    return train


def test_over_several_devices_the_batch_is_normalised_as_a_whole_or_not_at_all():
    network = build_autoencoder(AutoencoderRunConfig.create("tiny", "texture").autoencoder)
    names, layers = list(network.state_dict()), sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    with pytest.raises(MedfeError, match="devices: found 2 of cpu, expected 1"):
        over_devices(network, SimpleNamespace(world_size=2, device=torch.device("cpu")))
    assert over_devices(network, SimpleNamespace(world_size=1, device=torch.device("cuda"))) is network
    converted = over_devices(network, SimpleNamespace(world_size=2, device=torch.device("cuda")))
    assert sum(isinstance(m, nn.SyncBatchNorm) for m in converted.modules()) == layers > 0
    assert list(converted.state_dict()) == names


def test_both_are_trained_and_their_files_are_targets(train, tmp_path):
    assert train(tmp_path, kind="both", steps=2)[0] == 0
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    expected = {"texture.safetensors", "structure.safetensors"}
    for kind in ("texture", "structure"):
        own = ("config.json", "metrics.jsonl", "state.ckpt", "samples/step_0000002.png", ".claims/run.lock")
        expected |= {f"{kind}/{name}" for name in own}
        network = load_autoencoder(tmp_path / f"{kind}.safetensors", kind)
        assert not network.training
        assert network.encode(torch.zeros(1, 3, 64, 64)).shape == (1, 32, 8, 8)
        assert network.encoder[0][1].running_mean.any()  # statistics are part of the file
    assert {name for name in files if "tfevents" not in name} == expected
    assert [row["step"] for row in metrics(tmp_path / "texture")] == [1, 2]


def test_stopped_and_started_again_it_ends_with_the_same_weights(train, tmp_path):
    assert train(tmp_path / "a")[0] == 0
    for _ in range(2):
        assert train(tmp_path / "b", "--max-minutes", "0")[0] == 0
    assert train(tmp_path / "b", settings=("workers=1",))[0] == 0
    first, second = (load_file(tmp_path / name / "texture.safetensors") for name in "ab")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert metrics(tmp_path / "a" / "texture") == metrics(tmp_path / "b" / "texture")


def test_deleted_weights_are_written_again_from_the_finished_state(train, tmp_path):
    assert train(tmp_path)[0] == 0
    weights = tmp_path / "texture.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    assert train(tmp_path)[0] == 0
    assert weights.read_bytes() == before


def test_it_goes_on_in_the_precision_it_began_in_and_a_finished_one_stands_in_no_way(train, tmp_path, monkeypatch):
    auto = ("precision=auto",)
    monkeypatch.setenv("MEDFE_PRECISION", "32-true")
    assert train(tmp_path, settings=auto, steps=2)[0] == 0
    assert train(tmp_path, "--max-minutes", "0", settings=auto, steps=2, kind="structure")[0] == 0
    monkeypatch.setenv("MEDFE_PRECISION", "bf16-mixed")
    assert train(tmp_path, settings=auto, steps=2)[0] == 0
    code, message = train(tmp_path, settings=auto, steps=2, kind="both")
    assert code == 2
    assert "structure: began in 32-true and would go on in bf16-mixed" in message
    for kind in ("texture", "structure"):
        assert read_metadata(tmp_path / f"{kind}.safetensors")["precision"] == "32-true"


def test_of_a_state_that_does_not_say_it_the_precision_is_unknown(train, tmp_path):
    assert train(tmp_path, "--max-minutes", "0")[0] == 0
    path = tmp_path / "texture" / "state.ckpt"
    state = torch.load(path, weights_only=True)
    del state["works_in"]  # as in states of earlier releases
    torch.save(state, path)
    assert train(tmp_path)[0] == 0
    assert read_metadata(tmp_path / "texture.safetensors")["precision"] == "unknown"


def test_what_adam_remembers_comes_back_in_the_precision_that_the_set_up_gives(pictures, tmp_path):
    """Stands for a device: `setup` moves the network to either, but not what an optimizer already holds."""
    config = AutoencoderRunConfig.create(
        "tiny", "texture", data={"root": pictures}, autoencoder={"base_channels": 2}, max_steps=3, batch_size=1,
        workers=0,
    )  # fmt: skip
    for name, starts in (("a", (None,)), ("b", (0, None))):
        for minutes in starts:
            fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
            train_autoencoder(config, tmp_path / name, fabric, max_minutes=minutes)
    whole, resumed = (torch.load(tmp_path / name / "texture" / "state.ckpt", weights_only=True) for name in "ab")
    for index, moments in whole["optimizer"]["state"].items():
        found = resumed["optimizer"]["state"][index]["exp_avg"]
        assert found.dtype == torch.float64
        assert torch.equal(found, moments["exp_avg"])


def test_it_learns(train, tmp_path):
    assert train(tmp_path, steps=40, settings=("optimizer.learning_rate=0.003",))[0] == 0
    losses = [row["l1"] for row in metrics(tmp_path / "texture")]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_a_loss_that_is_not_finite_stops_with_step_and_term(train, tmp_path):
    code, message = train(tmp_path, settings=("optimizer.learning_rate=1e38", "save_every=1"), steps=9)
    assert code == 2
    assert "l1 = nan" in message or "l1 = inf" in message
    state = torch.load(tmp_path / "texture" / "state.ckpt", weights_only=True)
    assert f"step {state['step'] + 1}:" in message


def test_mistakes_are_refused(train, tmp_path):
    assert train(tmp_path / "run", "--max-minutes", "0")[0] == 0
    code, message = train(tmp_path / "run", "--seed", "3")
    assert code == 2
    assert "seed 0 there, 3 asked for" in message
    code, message = train(tmp_path / "new", "--data", "nowhere")
    assert code == 2
    assert "nowhere" in message
    state = tmp_path / "run" / "texture" / "state.ckpt"
    state.write_bytes(state.read_bytes()[:500])
    code, message = train(tmp_path / "run")
    assert code == 2
    assert "state.ckpt: damaged" in message
    assert train(tmp_path / "dry", "--dry-run")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_minutes_are_for_both_together(train, tmp_path, monkeypatch):
    given = []

    def pretend(config, out, fabric, *, max_minutes):
        given.append(max_minutes)
        time.sleep(0.06)
        return config.max_steps

    monkeypatch.setattr("medfe.training.autoencoder.train_autoencoder", pretend)
    assert train(tmp_path, "--max-minutes", "10", kind="both")[0] == 0
    assert given[1] <= given[0] - 0.001 <= 10


def test_a_dry_run_looks_at_the_photographs_and_at_what_the_folder_holds(train, tmp_path):
    code, message = train(tmp_path, "--dry-run", "--data", "nowhere")
    assert code == 2
    assert "nowhere" in message
    assert train(tmp_path, "--max-minutes", "0")[0] == 0
    assert train(tmp_path, "--dry-run")[0] == 0
    assert "seed 0 there, 3 asked for" in train(tmp_path, "--dry-run", "--seed", "3")[1]


@pytest.mark.parametrize(
    "setting", ["kind=structure", "autoencoder.kind=structure", 'autoencoder={"kind":"structure"}']
)
def test_the_kind_is_chosen_by_its_option_alone(train, tmp_path, setting):
    code, message = train(tmp_path, "--dry-run", settings=(setting,))
    assert code == 2
    assert f"--set {setting}: " in message
    assert ("expected --kind structure" in message) == (setting[-1] != "}")


def test_reconstruction_error_is_the_mean_over_all_photographs(pictures):
    class Grey(torch.nn.Module):
        def forward(self, image):
            return torch.zeros_like(image)

    photographs = EvaluationPhotographs(pictures, 64)
    expected = math.fsum(float(item["image"].abs().mean()) for item in photographs) / len(photographs)
    found = [reconstruction_l1(Grey(), photographs, batch_size=size) for size in (1, 4, 6)]
    assert found == pytest.approx([expected] * 3, rel=1e-5)


def test_settings_of_a_run_say_everything(train, tmp_path):
    assert train(tmp_path, steps=1, settings=("l1=3",))[0] == 0
    saved = json.loads((tmp_path / "texture" / "config.json").read_text())
    assert (saved["l1"], saved["autoencoder"]["kind"], saved["data"]["crop"]) == (3, "texture", "random")
