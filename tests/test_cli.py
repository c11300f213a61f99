"""The command line: settings from the command, and every kind of bad input in one line with exit code 2."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from medfe import cli
from medfe.config import GeneratorConfig
from medfe.models.generator import build_generator
from medfe.weightfiles import load_weights, save_weights


def save_model(folder, **changes):
    config = GeneratorConfig(**{"image_size": 64, "base_channels": 2, "feature_channels": 4, **changes})
    torch.manual_seed(0)
    tensors = {f"generator.{name}": tensor for name, tensor in build_generator(config).state_dict().items()}
    save_weights(folder / "generator.safetensors", tensors, {"kind": "generator", "config": config.model_dump()})


@pytest.fixture
def place(tmp_path):
    """A folder with a model, a picture of 80×60 pixels and a mask for it."""
    save_model(tmp_path / "run")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    hole = np.zeros((60, 80), dtype=bool)
    hole[10:40, 20:60] = True
    Image.fromarray(hole).save(tmp_path / "mask.png")
    return tmp_path


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def empty(place):
    Image.new("L", (80, 60), 0).save(place / "mask.png")


def full(place):
    Image.new("L", (80, 60), 255).save(place / "mask.png")


def wrong_size(place):
    Image.new("L", (60, 80), 255).save(place / "mask.png")


def corrupt(place):
    path = place / "picture.png"
    path.write_bytes(path.read_bytes()[:2000])


def text(place):
    (place / "picture.png").write_text("no picture")


def corrupt_mask(place):
    path = place / "mask.png"
    path.write_bytes(path.read_bytes()[:60])


def one_pixel(place):
    for name in ("picture", "mask"):
        Image.new("L", (1, 1), 255).save(place / f"{name}.png")


def fifty_megapixels(place):
    for name in ("picture", "mask"):
        Image.new("1", (10_000, 5_000)).save(place / f"{name}.png")


def truncated(place):
    path = place / "run" / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def pickled(place):
    content = pickle.dumps({"generator.encoder": Malicious(place / "executed")})
    (place / "run" / "generator.safetensors").write_bytes(content)


def torch_file(place):
    torch.save({"generator.encoder": Malicious(place / "executed")}, place / "run" / "generator.safetensors")


def other_preset(place):
    """Weights of one size that call themselves another."""
    path = place / "run" / "generator.safetensors"
    file = load_weights(path)
    config = {**file.metadata["config"], "base_channels": 3}
    save_weights(path, file.tensors, {**file.metadata, "config": config})


def autoencoder(place):
    path = place / "run" / "generator.safetensors"
    save_weights(path, load_weights(path).tensors, {"kind": "texture"})


def nothing(place):
    del place


@pytest.mark.parametrize(("spoil", "changes", "complaint"), [
    (wrong_size, {}, "mask.png: mask is 60×80, image is 80×60"),
    (empty, {}, "mask.png: empty, no pixel is marked as hole"),
    (full, {}, "mask.png: full, no pixel is known"),
    (corrupt_mask, {}, "mask.png: "),
    (corrupt, {}, "picture.png: cannot be read as an image"),
    (text, {}, "picture.png: not an image of a known format"),
    (one_pixel, {}, "full, no pixel is known"),
    (one_pixel, {"mask": "center"}, "empty, no pixel is marked as hole"),
    (one_pixel, {"mask": "irregular"}, "size 1, expected at least 4 pixels"),
    (fifty_megapixels, {}, "10000×5000 is 50 megapixels, expected at most 40"),
    (truncated, {}, "generator.safetensors: not a readable safetensors file"),
    (pickled, {}, "generator.safetensors: not a readable safetensors file"),
    (torch_file, {}, "generator.safetensors: not a readable safetensors file"),
    (other_preset, {}, "expected (4, 24, 1, 1); a checkpoint of another preset?"),
    (autoencoder, {}, "generator.safetensors: holds a 'texture', expected a 'generator'"),
    (nothing, {"model": "faces128/magic"}, "model 'faces128/magic': not found, expected a shipped model"),
    (nothing, {"model": "huge/autoencoder"}, "model 'huge/autoencoder': not found"),
    (nothing, {"mask": "round"}, "mask 'round': found no such file or folder"),
    (nothing, {"out": "out.jpg"}, "expected a name that ends in .png"),
    (nothing, {"device": "abacus"}, "device 'abacus'"),
    (nothing, {"picture": "nothing.png"}, "nothing.png: no such picture or folder"),
])  # fmt: skip
def test_bad_input_is_named_in_one_line_and_writes_nothing(medfe, place, spoil, changes, complaint):
    spoil(place)
    before = files(place)
    arguments = {"mask": place / "mask.png", "out": "out.png", "model": place / "run", "device": "cpu", **changes}
    picture = place / arguments.pop("picture", "picture.png")
    arguments["out"] = place / arguments["out"]
    options = [part for name, value in arguments.items() for part in (f"--{name}", value)]
    code, _, lines = medfe("inpaint", picture, *options)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("medfe: error: ")
    assert complaint in lines[0]
    assert files(place) == before


def test_a_good_picture_is_filled_and_known_pixels_stay(medfe, place):
    code, _, lines = medfe(
        "inpaint", place / "picture.png", "--mask", place / "mask.png", "--out", place / "out.png",
        "--model", place / "run", "--device", "cpu",
    )  # fmt: skip
    assert (code, lines) == (0, [])
    before, after, hole = (np.asarray(Image.open(place / f"{name}.png")) for name in ("picture", "out", "mask"))
    np.testing.assert_array_equal(after[~hole], before[~hole])
    assert (after[hole] != before[hole]).mean() > 0.9


def test_a_picture_of_a_camera_is_filled(medfe, place):
    """12 megapixels, of which the model sees a square around the hole."""
    Image.new("L", (4_000, 3_000), 90).save(place / "large.png", compress_level=1)
    hole = np.zeros((3_000, 4_000), dtype=np.uint8)
    hole[100:300, 200:500] = 255
    Image.fromarray(hole).save(place / "hole.png", compress_level=1)
    code, _, lines = medfe(
        "inpaint", place / "large.png", "--mask", place / "hole.png", "--out", place / "out.png",
        "--model", place / "run", "--device", "cpu",
    )  # fmt: skip
    assert (code, lines) == (0, [])
    with Image.open(place / "out.png") as filled:
        assert filled.size == (4_000, 3_000)
        assert filled.getpixel((3_999, 2_999)) == (90, 90, 90)


@pytest.mark.parametrize("files_given", [("pickle", "pickle", "pickle"), ("missing", "pickle", "pickle")])
def test_code_in_a_released_checkpoint_is_never_executed(medfe, tmp_path, files_given):
    names = ("EN.pth", "DE.pth", "MEDFE.pth")
    for name, content in zip(names, files_given, strict=True):
        if content == "pickle":
            torch.save({"net": {"weight": Malicious(tmp_path / "executed")}}, tmp_path / name)
    before = files(tmp_path)
    code, _, lines = medfe("import-published", *(tmp_path / name for name in names), "--out", tmp_path / "run")
    assert code == 2
    assert len(lines) == 1
    assert "EN.pth: no" in lines[0]
    assert files(tmp_path) == before


@pytest.mark.parametrize("arguments", [
    ["train"], ["train", "--data", "x"], ["train", "--resume", "nowhere"],
    ["train", "--resume", "x", "--max-steps", "9"], ["train", "--resume", "x", "--split", "val"],
    ["rtv", "nowhere", "out"],
    ["train", "--max-steps", "many"], ["unheard-of"], ["benchmark", "forward", "--preset", "huge"], [],
    ["benchmark", "table"], ["benchmark", "table", "nowhere.json"], ["benchmark", "rtv", "--compile"],
    ["benchmark", "forward", "--checkpointing"], ["benchmark", "forward", "a.json"],
    ["benchmark", "scaling", "--preset", "tiny", "--batch-size", "3"],
    ["benchmark", "forward", "--preset", "tiny", "--repeats", "0"],
    ["benchmark", "step", "--preset", "tiny", "--batch-size", "-1"], ["benchmark", "rtv", "--images", "0"],
    ["train", "--data", ".", "--out", "run", "--preset", "tiny", "--max-minutes", "-1"],
    ["train", "--data", ".", "--out", "run", "--preset", "tiny", "--autoencoders", "pair"],
])  # fmt: skip
def test_incomplete_or_unknown_commands_exit_with_two_and_no_traceback(medfe, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, lines = medfe(*arguments)
    assert code == 2
    assert lines
    assert "Traceback" not in "\n".join(lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_every_command_has_help(medfe, capsys, command):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--help"])
    assert stopped.value.code == 0
    assert len(capsys.readouterr().out) > 200


def test_a_full_disk_is_one_line(medfe, place, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device", str(place / "out.png"))

    monkeypatch.setattr("medfe.inpaint_files.save_png", full_disk)
    code, _, lines = medfe(
        "inpaint", place / "picture.png", "--mask", "center", "--out", place / "out.png", "--model", place / "run"
    )
    assert code == 2
    assert lines == [f"medfe: error: {place / 'out.png'}: No space left on device"]


def test_a_full_device_is_one_line_and_other_faults_of_a_program_are_not_hidden(medfe, place, monkeypatch):
    def fault(kind):
        def raised(*_, **__):
            raise kind("CUDA out of memory. Tried to allocate 2 GiB")

        monkeypatch.setattr("medfe.inpaint_files.inpaint_files", raised)
        return medfe("inpaint", place / "picture.png", "--mask", "center", "--out", place / "out.png")

    code, _, lines = fault(torch.OutOfMemoryError)
    assert code == 2
    assert lines[0].startswith("medfe: error: the device's memory is full: ")
    with pytest.raises(RuntimeError, match="Tried"):
        fault(RuntimeError)


def test_an_interrupt_exits_with_130(medfe, place, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("medfe.inpaint_files.inpaint_files", interrupt)
    code, _, lines = medfe("inpaint", place / "picture.png", "--mask", "center", "--out", place / "out.png")
    assert (code, lines) == (130, ["medfe: interrupted"])
