"""The recurrent quantization block against its formulas in NumPy."""

import faiss
import numpy as np
import pytest
import torch

import drqfaiss
from drqfaiss.supervised import RecurrentQuantizer
from tests.supervised import labelled


def make(d=6, levels=3, bits=2, seed=0, **options):
    torch.manual_seed(seed)
    return RecurrentQuantizer(d, levels, bits, **options)


def softmax(a):
    e = np.exp(a - a.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def reference(x, codebook, scales, similarity, temperature):
    """Return the sums of soft and hard codewords after every level, and the codes."""
    residual, soft, hard, codes = x, [], [], []
    for scale in scales:
        C = scale * codebook
        if similarity == "cosine":
            norms = np.linalg.norm(residual, axis=1)[:, None] * np.linalg.norm(C, axis=1)
            close = residual @ C.T / norms
        else:
            close = -np.square(residual[:, None] - C).sum(2) / np.square(C).sum(1).mean()
        b = close.argmax(1)
        soft.append(softmax(close / temperature) @ C)
        hard.append(C[b])
        codes.append(b)
        residual = residual - C[b]
    return np.cumsum(soft, 0), np.cumsum(hard, 0), np.stack(codes, 1)


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
@pytest.mark.parametrize("scale", ["geometric", "level", "vector"])
def test_outputs_of_all_prefixes(scale, similarity):
    block = make(scale=scale, similarity=similarity, temperature=0.3)
    with torch.no_grad():
        block.log_scales.add_(0.3 * torch.randn_like(block.log_scales))
    x = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
    quantized = block(torch.from_numpy(x))
    scales, codebook = block.scales().detach().numpy(), block.codebook.detach().numpy()
    soft, hard, codes = reference(x, codebook, scales, similarity, 0.3)
    np.testing.assert_array_equal(quantized.codes, codes)
    np.testing.assert_allclose(quantized.hard.detach(), hard, atol=1e-5)
    np.testing.assert_allclose(quantized.soft.detach(), soft, atol=1e-5)


def test_geometric_scales_are_powers_and_the_first_is_one():
    scales = make(levels=4, scale="geometric").scales().detach().numpy()[:, 0]
    np.testing.assert_allclose(scales, [1, 0.5, 0.25, 0.125], rtol=1e-6)


def test_fewer_levels_are_a_prefix():
    block, x = make(), torch.randn(9, 6)
    whole, part = block(x), block(x, levels=2)
    torch.testing.assert_close(whole.hard[:2], part.hard)
    torch.testing.assert_close(whole.soft[:2], part.soft)
    assert torch.equal(whole.codes[:, :2], part.codes)


def test_straight_through_has_the_hard_value_and_the_soft_gradient():
    x, plain, through = torch.randn(7, 6), make(), make(straight_through=True)
    torch.testing.assert_close(through(x).soft, through(x).hard)
    # At one level: with more, the residual depends on the codebook as well, in both alike.
    for block in (plain, through):
        block(x, levels=1).soft.square().sum(0)[0].sum().backward()
    weights = plain(x, levels=1).hard[0].detach()
    plain.zero_grad(), through.zero_grad()
    (plain(x, levels=1).soft[0] * weights).sum().backward()
    (through(x, levels=1).soft[0] * weights).sum().backward()
    torch.testing.assert_close(plain.codebook.grad, through.codebook.grad)


def test_low_temperatures_make_soft_codewords_hard():
    x = torch.randn(30, 6)
    gaps = [(q.soft - q.hard).abs().mean() for q in (make(temperature=t)(x) for t in (1.0, 0.1, 0.001))]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.02


@pytest.mark.parametrize("scale", ["geometric", "level", "vector"])
@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_gradients(scale, similarity):
    block = make(d=3, levels=2, scale=scale, similarity=similarity, temperature=0.7).double()
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def sums(x, codebook, log_scales):
        parameters = {"codebook": codebook, "log_scales": log_scales}
        quantized = torch.func.functional_call(block, parameters, x)
        return quantized.soft, quantized.hard

    parameters = tuple(p.detach().clone().requires_grad_() for p in (block.codebook, block.log_scales))
    if similarity == "l2":  # the unit of distances is no part of the gradient
        block.similarity = "l2"
        with torch.no_grad():
            unit = block.codebook.square().sum(1).mean()
        block._closeness = lambda r, C: -torch.cdist(r, C).square() / unit
    assert torch.autograd.gradcheck(sums, (x, *parameters))


@pytest.mark.parametrize("scale", ["geometric", "level", "vector"])
@pytest.mark.parametrize("bits", [4, 8])
def test_codes_are_those_of_the_exported_quantizer(scale, bits):
    block = make(d=64, levels=4, bits=bits, scale=scale)
    x, _ = labelled.digits()
    block.set_codebook(x[: 2**bits])
    quantizer = block.quantizer()
    codes = block.encode(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(quantizer.encode(x, beam=1), codes)
    decoded = block(torch.from_numpy(x)).hard.detach().numpy()
    for levels in range(1, 5):
        np.testing.assert_allclose(quantizer.decode(codes, levels), decoded[levels - 1], atol=1e-5)


def test_exported_index_ranks_by_the_reconstructions():
    block, x = make(d=64, levels=3, bits=4), labelled.digits(500)[0]
    block.set_codebook(x[:16])
    index = block.quantizer().to_index(faiss.METRIC_INNER_PRODUCT)
    index.rq.max_beam_size = 1
    index.add(x)
    hard = block(torch.from_numpy(x)).hard.detach().numpy()
    for levels in (1, 3):
        D, ids = index.search(x[:20], 10, params=drqfaiss.SearchParametersDRQ(levels=levels))
        expected = x[:20] @ hard[levels - 1].T
        np.testing.assert_allclose(D, -np.sort(-expected, 1)[:, :10], rtol=1e-4)
        np.testing.assert_allclose(np.take_along_axis(expected, ids, 1), D, rtol=1e-4)


def test_a_quantizer_is_taken_over():
    quantizer = make(levels=4, seed=1).quantizer()
    block = make(levels=4, seed=2)
    block.set_quantizer(quantizer)
    np.testing.assert_allclose(block.quantizer().codebook, quantizer.codebook)
    np.testing.assert_allclose(block.quantizer().scales, quantizer.scales, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "none"}, "scale: got 'none', expected one of 'geometric', 'level', 'vector'"),
        ({"similarity": "dot"}, "similarity: got 'dot'"),
        ({"temperature": 0}, "temperature: got 0, expected more than 0"),
        ({"bits": 17}, "bits: got 17, expected 1 to 16"),
        ({"levels": 0}, "levels: got 0, expected at least 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_bad_arrays():
    block = make()
    with pytest.raises(ValueError, match="levels: got 4, expected 1 to 3"):
        block(torch.zeros(1, 6), levels=4)
    with pytest.raises(ValueError, match=r"codebook: got \(3, 6\), expected \(4, 6\)"):
        block.set_codebook(np.zeros((3, 6)))
    with pytest.raises(ValueError, match="expected 3 positive ones, first 1"):
        block.set_scales([1, 0.5, 0])
    centred = drqfaiss.Quantizer(np.eye(4, 6), [1, 0.5, 0.2], mean=np.ones(6))
    with pytest.raises(ValueError, match="a mean or a rotation, expected neither"):
        block.set_quantizer(centred)
