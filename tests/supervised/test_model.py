"""The model: features, export, the serving file."""

import faiss
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import nn

from drqfaiss._least_squares import polish
from drqfaiss.supervised import DRQModel, backbones
from tests.supervised import labelled


def test_features_are_both_outputs():
    for head in ("parallel", "chained"):
        model = labelled.small_model(head=head, normalize=False).eval()
        x = torch.from_numpy(labelled.digits(5)[0])
        output = model(x)
        hidden = model.head.hidden(model.backbone(x))
        second = hidden.relu() if head == "chained" else model.backbone(x)
        words = model.head.words(second)
        torch.testing.assert_close(output.features, torch.cat([hidden, words], 1))
        torch.testing.assert_close(output.words, words.tanh() if head == "chained" else words)


def test_normalised_features_have_a_root_mean_square_of_one():
    features = labelled.small_model().encode_features(labelled.digits(50)[0])
    np.testing.assert_allclose(np.square(features).mean(1), 1, rtol=1e-5)


def test_detached_quantization_leaves_the_network_alone():
    model, x = labelled.small_model(), torch.from_numpy(labelled.digits(20)[0])
    for detach in (True, False):
        model.zero_grad()
        model(x, detach=detach).quantized.hard.sum().backward()
        model(x, detach=detach).quantized.soft.sum().backward()
        assert model.block.codebook.grad is not None
        assert (model.head.words.weight.grad is None) == detach


def test_features_do_not_depend_on_batches_or_mode():
    model, x = labelled.small_model(), labelled.digits(50)[0]
    model.train()
    one, many = model.encode_features(x), model.encode_features(torch.from_numpy(x), batch_size=7)
    assert model.training
    np.testing.assert_allclose(one, many, atol=1e-5)


def test_codes_of_model_quantizer_and_index_are_equal():
    model, x = labelled.small_model(), labelled.digits()[0]
    features = model.encode_features(x)
    model.block.set_codebook(features[:1600].reshape(16, 100, -1).mean(1))
    codes = model.block.encode(torch.from_numpy(features)).numpy()
    np.testing.assert_array_equal(model.quantizer().encode(features, beam=1), codes)
    index = model.quantizer().to_index(faiss.METRIC_INNER_PRODUCT)
    index.rq.max_beam_size = 1
    low, high = codes[:, 0] | codes[:, 1] << 4, codes[:, 2]  # 4 bits per level, low ones first
    np.testing.assert_array_equal(index.sa_encode(features), np.stack([low, high], 1))


@pytest.mark.parametrize("scale", ["geometric", "level", "vector"])
def test_one_file_serves(tmp_path, scale):
    model, x = labelled.small_model(scale=scale), labelled.digits(100)[0]
    model.save(tmp_path / "model.pt")
    again = DRQModel.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(again.encode_features(x), model.encode_features(x))
    np.testing.assert_array_equal(again.quantizer().codebook, model.quantizer().codebook)
    np.testing.assert_array_equal(again.quantizer().scales, model.quantizer().scales)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


class Own(nn.Module):
    out_features = 8

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 8)

    def forward(self, x):
        return self.layer(x)


def test_a_backbone_of_ones_own(tmp_path):
    model, x = DRQModel(Own(), word_features=10, hidden_features=6, bits=4), labelled.digits(9)[0]
    model.save(tmp_path / "model.pt")
    again = DRQModel.load(tmp_path / "model.pt", backbone=Own())
    np.testing.assert_array_equal(again.encode_features(x), model.encode_features(x))
    with pytest.raises(ValueError, match="saved with a backbone of its own"):
        DRQModel.load(tmp_path / "model.pt")
    with pytest.raises(TypeError, match="got one without an integer `out_features`"):
        DRQModel(nn.Identity())


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("convnet", {"width": 4}, (3, 32, 32)),
        ("resnet", {"width": 4}, (3, 32, 32)),
        ("resnet", {"width": 4, "blocks": (1, 1, 1), "first_pool": True}, (3, 32, 32)),
        ("mlp", {"d": 12, "width": 16, "depth": 2}, (12,)),
        ("none", {"d": 12}, (12,)),
    ],
)
def test_backbones(name, options, shape):
    network = backbones.build(name, options)
    inputs = torch.randint(0, 255, (2, *shape), dtype=torch.uint8)
    assert network(inputs if len(shape) == 3 else inputs.float()).shape == (2, network.out_features)


def test_patches_are_whitened():
    photograph = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None]
    patches = backbones.Patches()
    basis = patches.patterns.flatten(1)
    np.testing.assert_allclose(basis @ basis.T, np.eye(12), atol=1e-6)
    channels = patches(backbones.Pixels()(photograph))
    np.testing.assert_array_equal(channels[:, 12:], -channels[:, :12])
    correlations = np.corrcoef(channels[0, :12].flatten(1))
    assert np.abs(correlations - np.eye(12)).mean() < 0.1


def test_a_convnet_starts_as_identities():
    network = backbones.convnet(32)
    first = network.stages[2][0]
    x = torch.randn(1, 24, 8, 8)
    np.testing.assert_array_equal(first(x)[:, :24].detach(), x)


def test_alexnet_has_the_known_size():
    with torch.device("meta"):
        network = backbones.alexnet()
    assert network.out_features == 4096
    assert sum(p.numel() for p in network.parameters()) == 57_003_840  # 61.1 million without the last layer
    # 224 pixels leave 6 × 6 × 256 features in front of fc6.
    with torch.device("meta"):
        assert network.layers(torch.empty(1, 3, 224, 224)).shape == (1, 256, 6, 6)


def posterior_model(**options):
    return labelled.small_model(head="posterior", hidden_features=None, **options)


def test_posterior_features_are_probabilities():
    model, x = posterior_model(word_features=7, classes=10), labelled.digits(20)[0]
    words = torch.randn(10, 7, generator=torch.Generator().manual_seed(1))
    model.head.set_word_vectors(words)
    features = model.encode_features(x)
    assert features.shape == (20, model.d) == (20, 10)
    output = model.eval()(torch.from_numpy(x), levels=0).words.detach().numpy()
    directions = words.numpy() / np.linalg.norm(words, axis=1, keepdims=True)
    cosines = output @ directions.T / np.linalg.norm(output, axis=1, keepdims=True)
    odds = np.exp(cosines / 0.1)
    np.testing.assert_allclose(features, odds / odds.sum(1, keepdims=True) * 10**0.5, rtol=1e-4)


def test_a_saved_posterior_model_knows_its_word_vectors(tmp_path):
    model, x = posterior_model(word_features=7, classes=10), labelled.digits(20)[0]
    model.head.set_word_vectors(torch.randn(10, 7))
    model.save(tmp_path / "model.pt")
    again = DRQModel.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(again.encode_features(x), model.encode_features(x))


def test_word_vectors_of_other_classes():
    x, y = labelled.digits(100)
    with pytest.raises(ValueError, match=r"word_vectors: got shape \(12, 10\), expected \(10, 10\)"):
        labelled.Trainer(posterior_model(), x, y, np.eye(12, 10) + 1, device="cpu", progress=False)


@pytest.mark.parametrize("head", ["parallel", "posterior"])
def test_mirrored_views_count_alike(head):
    torch.manual_seed(0)
    options = {"word_features": 10, "hidden_features": 6 if head == "parallel" else None, "head": head}
    model = DRQModel("convnet", {"width": 4}, mirrored=True, bits=4, **options)
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8)
    features = model.encode_features(images)
    np.testing.assert_allclose(features, model.encode_features(images[..., ::-1]), atol=1e-5)
    model.config["mirrored"] = False
    mean = (model.encode_features(images) + model.encode_features(images[..., ::-1])) / 2
    if head == "parallel":
        mean *= model.d**0.5 / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(features, mean, atol=1e-5)


def test_polishing_lowers_the_error():
    model, x = labelled.small_model(), labelled.digits()[0]
    features = model.encode_features(x)
    model.block.set_codebook(features[:16])

    def error():
        quantizer = model.quantizer()
        return np.square(features - quantizer.decode(quantizer.encode(features))).mean()

    before = error()
    model.polish(x, iterations=3)
    assert error() < 0.8 * before


def test_polishing_keeps_mean_and_rotation():
    import drqfaiss

    x = labelled.digits()[0]
    start = drqfaiss.Quantizer.train(x, levels=2, bits=4, scale="vector", iterations=1, progress=False)
    done = polish.polish(start, x, iterations=4)

    def error(quantizer):
        return np.square(x - quantizer.decode(quantizer.encode(x))).mean()

    assert error(done) < error(start)
    np.testing.assert_array_equal(done.mean, start.mean)
    np.testing.assert_array_equal(done.rotation, start.rotation)


def test_bad_polishing():
    quantizer = labelled.small_model().quantizer()
    with pytest.raises(ValueError, match="x: got no vectors"):
        polish.polish(quantizer, np.empty((0, 32)))
    with pytest.raises(ValueError, match="scale: got 'vector' for scales of shape"):
        polish.polish(quantizer, np.ones((4, 32)), scale="vector")


def test_files_without_a_version(tmp_path):
    path = tmp_path / "model.pt"
    for version in ({}, {"version": "1"}):
        torch.save({"format": "drqfaiss.DRQModel", **version}, path)
        with pytest.raises(ValueError, match=r"model\.pt: a damaged drqfaiss\.DRQModel file \(got version"):
            DRQModel.load(path)


def test_damaged_and_other_files(tmp_path):
    path = tmp_path / "model.pt"
    labelled.small_model().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.pt: not a drqfaiss\.DRQModel file, or damaged"):
        DRQModel.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="or damaged"):
        DRQModel.load(path)
    torch.save({"format": "else"}, path)
    with pytest.raises(ValueError, match=r"another kind of file, expected drqfaiss\.DRQModel"):
        DRQModel.load(path)
    torch.save({"format": "drqfaiss.DRQModel", "version": 99}, path)
    with pytest.raises(ValueError, match="version 99, expected at most 1"):
        DRQModel.load(path)
    with pytest.raises(FileNotFoundError):
        DRQModel.load(tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"head": "both"},
            ValueError,
            "head: got 'both', expected one of 'parallel', 'chained', 'posterior'",
        ),
        ({"classes": 10}, ValueError, "classes: got 10, expected None: only the posterior head needs them"),
        ({"head": "posterior"}, ValueError, "hidden_features: got 22, expected 0 for the posterior head"),
        ({"word_features": 0}, ValueError, "word_features: got 0"),
        ({"levels": 0}, ValueError, "levels: got 0"),
        ({"scales": "level"}, TypeError, "scales"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        labelled.small_model(**arguments)


def test_an_unknown_backbone():
    with pytest.raises(
        ValueError, match="backbone: got 'vgg', expected one of 'alexnet', 'convnet', 'efficientnet-lite0'"
    ):
        DRQModel("vgg")
