"""The trainer: stages, exact resuming, several processes, bad input; and a training that is worth it."""

import json
import os
import subprocess
import sys

import faiss
import numpy as np
import pytest
import torch

from drqfaiss.evaluation import mean_average_precision, relevance
from drqfaiss.supervised import DRQModel
from drqfaiss.supervised.log import read_log
from drqfaiss.supervised.schedule import Schedule, Weights
from drqfaiss.supervised.trainer import _half_precision
from tests.supervised import labelled
from tests.supervised.labelled import small_model, small_options, small_trainer


def states_equal(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_training_beats_raw_pixels_and_untrained_features():
    x, y = labelled.digits()
    train, rest = slice(0, 1200), slice(1200, None)
    model = small_model(levels=3, bits=4)

    def mean_ap(base, query, index=None):
        index = index or faiss.IndexFlatIP(base.shape[1])
        index.add(base)
        return mean_average_precision(relevance(index, query, y[rest], y[train], 100))

    raw = mean_ap(x[train], x[rest])
    untrained = mean_ap(model.encode_features(x[train]), model.encode_features(x[rest]))
    labelled.Trainer(
        model, x[train], y[train], options=small_options(epochs=(6, 2, 4)), device="cpu", progress=False
    ).fit()
    base, query = model.encode_features(x[train]), model.encode_features(x[rest])
    index = model.quantizer().to_index(faiss.METRIC_INNER_PRODUCT)
    quantized = mean_ap(base, query, index)  # 12 bits
    index.levels = 1
    short = mean_average_precision(relevance(index, query, y[rest], y[train], 100))  # 4 bits
    assert quantized > max(raw, untrained) + 0.1
    assert quantized > 0.9
    assert short > raw


def test_stages_train_what_they_should():
    model = small_model()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    small_trainer(model, options=small_options(epochs=(1, 0, 0))).fit()
    assert torch.equal(model.block.codebook, start["block.codebook"])
    assert not torch.equal(model.head.words.weight, start["head.words.weight"])

    trainer = small_trainer(model, options=small_options(epochs=(0, 1, 1)))
    trainer._start_quantizer()
    scales = model.block.log_scales.clone()
    while trainer.schedule.stage(trainer.step) == 1:
        trainer._train_step()
    assert torch.equal(model.block.log_scales, scales)
    trainer._train_step()
    assert not torch.equal(model.block.log_scales, scales)


def test_triplets_of_a_posterior_head_are_of_its_words():
    weights = Weights(adaptive_margin=0, triplet=1)
    trainer = small_trainer(
        small_model(head="posterior", hidden_features=None), options=small_options(weights=weights)
    )
    batch, labels = trainer._batch()
    output = trainer.model.eval()(batch, levels=0)
    expected = trainer.losses["triplet"](output.words, labels)
    assert torch.equal(trainer._weighted_losses(output, labels)["triplet"], expected)


def test_inputs_on_the_cpu_are_not_copied(tmp_path):
    x, y = labelled.digits(100)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    arguments = {"options": small_options(), "device": "cpu", "progress": False}
    trainer = labelled.Trainer(small_model(), mapped, y, **arguments)
    assert trainer.inputs is mapped
    trainer.fit()


def test_floats_of_any_width_train_as_float32():
    x, y = labelled.digits(100)
    arguments = {"options": small_options(epochs=(1, 1, 0)), "device": "cpu", "progress": False}
    models = [small_model() for _ in range(4)]
    inputs = (x, x.astype(np.float64), x.astype(">f8"), torch.from_numpy(x).double())
    for model, given in zip(models, inputs, strict=True):
        labelled.Trainer(model, given, y, **arguments).fit()
        assert states_equal(model, models[0])
        np.testing.assert_array_equal(model.encode_features(given), model.encode_features(x))


def test_detached_training_gives_the_network_no_quantization():
    weights = Weights(adaptive_margin=0, triplet=0)
    for end_to_end in (False, True):
        model = small_model()
        before = model.head.words.weight.clone()
        options = small_options(epochs=(0, 1, 1), weights=weights, end_to_end=end_to_end)
        small_trainer(model, options=options).fit()
        assert torch.equal(model.head.words.weight, before) != end_to_end


@pytest.mark.parametrize(
    "options",
    [
        {"triplets": "explicit", "batch_size": 60},
        {"rates": "step", "optimizer": "momentum", "alternate": True, "start": "random"},
        {"distortion_levels": "last", "joint_levels": "all", "rates": "constant"},
    ],
)
def test_options_lower_the_loss(options, tmp_path):
    options = small_options(epochs=(4, 1, 2), log_steps=1, **options)
    small_trainer(options=options, log=tmp_path / "log.jsonl").fit()
    lines = [line for line in read_log(tmp_path / "log.jsonl") if line["stage"] == 1]
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.mark.parametrize("broken_at", [3, 9, 16])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, broken_at):
    """Broken in each of the three stages, between two checkpoints."""
    options = small_options(checkpoint_steps=2, log_steps=1)
    whole, log = small_model(), tmp_path / "whole.jsonl"
    small_trainer(whole, options=options, log=log).fit()

    class Killed(Exception):
        pass

    def kill(batch, generator):
        if broken.step == broken_at:
            raise Killed
        return batch

    files = {"checkpoint": tmp_path / "checkpoint.pt", "log": tmp_path / "log.jsonl"}
    broken = small_trainer(options=options, augment=kill, **files)
    with pytest.raises(Killed):
        broken.fit()
    model = small_model(seed=1)  # what it starts from does not matter any more
    small_trainer(model, options=options, augment=lambda batch, generator: batch, **files).fit()
    assert states_equal(model, whole)
    logs = [[{**line, "seconds": 0} for line in read_log(path)] for path in (log, files["log"])]
    assert logs[0] == logs[1]


KILLED = """
import os, signal, sys
from tests.supervised.labelled import small_options, small_trainer
def kill(batch, generator):
    if trainer.step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch
options = small_options(checkpoint_steps=2)
trainer = small_trainer(options=options, augment=kill, checkpoint=sys.argv[1])
trainer.fit()
"""


@pytest.mark.slow
def test_a_killed_process_goes_on(tmp_path):
    """The same with a real kill: the process has no chance to clean up."""
    path, options = tmp_path / "checkpoint.pt", small_options(checkpoint_steps=2)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True)
    assert done.returncode == -9, done.stderr
    model, whole = small_model(seed=1), small_model()
    trainer = small_trainer(model, options=options, augment=lambda batch, _: batch, checkpoint=path)
    trainer.fit()
    small_trainer(whole, options=options).fit()
    assert states_equal(model, whole)


PROCESS = """
import sys
import torch
from tests.supervised.labelled import digits, small_model, small_options, Trainer
x, y = digits(256)
options = small_options(network_rate=3e-3)
trainer = Trainer(small_model(), x, y, options=options, device="cpu", progress=False,
                  checkpoint=sys.argv[1] + "/checkpoint.pt")
assert trainer.processes.world == 2
model = trainer.fit()
model.save(f"{sys.argv[1]}/{trainer.processes.rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_share_the_batches(tmp_path):
    (tmp_path / "script.py").write_text(PROCESS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    models = [DRQModel.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    parameters = [dict(model.named_parameters()) for model in models]
    assert all(torch.equal(value, parameters[1][name]) for name, value in parameters[0].items())
    assert (tmp_path / "checkpoint.pt").exists()
    x, y = labelled.digits(256)
    features = models[0].encode_features(x)
    index = faiss.IndexFlatIP(features.shape[1])
    index.add(features)
    untrained = small_model().encode_features(x)
    before = faiss.IndexFlatIP(untrained.shape[1])
    before.add(untrained)
    trained_map = mean_average_precision(relevance(index, features, y, y, 20))
    assert trained_map > mean_average_precision(relevance(before, untrained, y, y, 20)) + 0.05


def test_the_log_is_json_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    small_trainer(log=path, after_epoch=lambda trainer: {"accuracy": trainer.step / 100}).fit()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == [5, 10, 15, 20]
    assert [line["accuracy"] for line in lines if "accuracy" in line] == [0.04, 0.08, 0.12, 0.16, 0.2]
    assert lines[-1]["seconds"] > 0
    path.write_text(path.read_text()[:-9])  # cut short by a kill
    assert len(read_log(path)) == len(lines) - 1


def test_schedule():
    schedule = Schedule(small_options(epochs=(2, 1, 1), batch_size=50), 120)
    assert (schedule.steps_per_epoch, schedule.steps) == (2, 8)
    assert [schedule.stage(step) for step in range(8)] == [0, 0, 0, 0, 1, 1, 2, 2]
    assert [schedule.levels(step, 3) for step in (0, 4, 6)] == [0, 1, 3]
    rows = torch.cat([schedule.rows(0), schedule.rows(1)])
    assert len(rows.unique()) == 100
    assert not torch.equal(schedule.rows(0), schedule.rows(2))
    assert torch.equal(rows[:50], schedule.rows(0))
    rates = [schedule.network_rate(step) for step in range(8)]
    assert max(rates) <= schedule.options.network_rate
    assert rates[0] < max(rates) > rates[-1] > 0
    assert schedule.temperature(4) == pytest.approx(0.2)
    assert schedule.temperature(8) == pytest.approx(0.02)


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    def spoil(batch, generator):
        return batch * float("nan") if trainer.step == 6 else batch

    path = tmp_path / "checkpoint.pt"
    trainer = small_trainer(options=small_options(checkpoint_steps=4), augment=spoil, checkpoint=path)
    with pytest.raises(
        FloatingPointError, match=r"step 6: the loss is not finite .*checkpoint\.pt, of step 4"
    ):
        trainer.fit()
    assert all(value.isfinite().all() for value in trainer.model.parameters())
    trainer = small_trainer(options=small_options(checkpoint_steps=4), checkpoint=path)
    trainer._resume()
    assert trainer.step == 4


def test_a_gradient_that_is_not_a_number_stops_the_run():
    trainer = small_trainer()
    trainer.model.head.words.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(FloatingPointError, match=r"step 0: the gradient is not finite .*no checkpoint"):
        trainer.fit()


def test_damaged_checkpoints(tmp_path):
    path = tmp_path / "checkpoint.pt"
    small_trainer(checkpoint=path).fit()
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[:1000], whole[:-1000]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"checkpoint\.pt: not a drqfaiss\.Trainer file, or damaged"):
            small_trainer(checkpoint=path).fit()
        assert path.read_bytes() == damaged


def test_without_a_checkpoint_no_file_is_promised():
    def spoil(batch, generator):
        return batch * float("nan") if trainer.step == 6 else batch

    trainer = small_trainer(options=small_options(checkpoint_steps=4), augment=spoil)
    with pytest.raises(FloatingPointError, match=r"step 6: .*; no checkpoint was written"):
        trainer.fit()


def test_scaled_losses_train_as_plain_ones():
    """As on GPUs without bfloat16; a scale that is a power of two changes no float32."""
    plain, scaled = small_model(), small_model()
    small_trainer(plain).fit()
    trainer = small_trainer(scaled)
    trainer.scaler = torch.amp.GradScaler("cpu")
    trainer.fit()
    assert states_equal(plain, scaled)


def test_scaled_losses_that_overflow_skip_the_step():
    trainer = small_trainer()
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    before = trainer.model.head.words.weight.clone()
    hook = trainer.model.head.words.weight.register_hook(lambda gradient: gradient * float("inf"))
    trainer._train_step()
    assert torch.equal(trainer.model.head.words.weight, before)
    assert trainer.scaler.get_scale() == 1.0
    hook.remove()
    trainer._train_step()
    assert not torch.equal(trainer.model.head.words.weight, before)


@pytest.mark.parametrize(("emulated", "precision"), [(True, torch.float16), (False, torch.bfloat16)])
def test_gpus_that_emulate_bfloat16_take_float16(emulated, precision, monkeypatch):
    def is_supported(including_emulation=True):
        return including_emulation or not emulated

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert _half_precision(torch.device("cuda")) == precision
    assert _half_precision(torch.device("cpu")) == torch.bfloat16


def test_a_checkpoint_of_other_data(tmp_path):
    x, y = labelled.digits(300)
    words = np.eye(10, dtype=np.float32)

    def fit(x, y, words=None):
        arguments = {"options": small_options(), "device": "cpu", "progress": False}
        labelled.Trainer(small_model(), x, y, words, **arguments, checkpoint=tmp_path / "x.pt").fit()

    fit(x, y)
    fit(torch.from_numpy(x), np.arange(10) == y[:, None], words)  # the same, given in another way
    corrected = y.copy()
    corrected[7] = (y[7] + 1) % 10
    for other, name in (
        ((x + 1, y), "inputs"),
        ((x, corrected), "labels"),
        ((x, y, words[::-1]), "word_vectors"),
    ):
        with pytest.raises(ValueError, match=f"a checkpoint of another run, with other {name}, expected"):
            fit(*other)


def test_a_checkpoint_of_another_run(tmp_path):
    path = tmp_path / "checkpoint.pt"
    small_trainer(checkpoint=path).fit()
    with pytest.raises(ValueError, match="of another run, with other batch_size, seed"):
        small_trainer(checkpoint=path, options=small_options(batch_size=32, seed=1)).fit()


def fit_on(x, y, words=None, **options):
    model = small_model(word_features=10 if words is None else 3)
    labelled.Trainer(model, x, y, words, options=small_options(**options), device="cpu", progress=False).fit()


def test_bad_data():
    x, y = labelled.digits(100)
    bad = [
        ((x, y + 3), "labels: got class 1. of sample"),
        ((x, y[:-1]), r"labels: got shape \(99,\), expected \(100,\)"),
        ((x, y, np.ones((9, 4))), r"word_vectors: got shape \(9, 4\), expected \(classes, 3\)"),
        ((x, y, np.ones((9, 3))), "labels: got class 9 of sample"),
        ((x, y, np.eye(10, 3)), r"word_vectors: got zero or not finite for classes \[3, 4, 5, 6, 7, 8, 9\]"),
        ((x, np.zeros(100, int)), "samples that all share a label, expected negatives"),
        ((x[:10], np.arange(10)), "no two samples that share a label, expected positives"),
        ((x[:1], y[:1]), "no two samples that share a label"),
    ]
    for arguments, message in bad:
        with pytest.raises(ValueError, match=message):
            fit_on(*arguments)


def test_batches_without_positives():
    x, y = labelled.digits(100)
    with pytest.raises(
        ValueError, match="batch_size: got 1 of 100 samples for 1 processes, expected at least"
    ):
        fit_on(x, y, batch_size=1)
    rare = np.minimum(np.arange(100), 90) % 91  # 91 classes, one of them with 10 samples
    model = small_model(word_features=91)
    trainer = labelled.Trainer(
        model, x, rare, options=small_options(batch_size=4), progress=False, device="cpu"
    )
    with pytest.raises(ValueError, match="a batch of 4 samples without positives"):
        trainer.fit()


def test_too_few_samples_for_the_codebook():
    """Known before anything is trained, and no fault of a run that clusters nothing."""
    for epochs in ((1, 1, 0), (0, 0, 1)):
        with pytest.raises(ValueError, match="inputs: got 100 samples, expected at least the 256 codewords"):
            small_trainer(small_model(bits=8), n=100, options=small_options(epochs=epochs))
    small_trainer(small_model(bits=8), n=100, options=small_options(epochs=(1, 0, 0))).fit()
    small_trainer(small_model(bits=8), n=100, options=small_options(start="random")).fit()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": (0, 0, 0)}, r"epochs: got \(0, 0, 0\)"),
        ({"epochs": (1, 1)}, r"epochs: got \(1, 1\), expected three"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"network_rate": 0.0}, "network_rate: got 0.0"),
        ({"temperatures": (0.1, 0.0)}, "temperatures: got 0.0"),
        ({"rates": "cosine"}, "rates: got 'cosine'"),
        ({"optimizer": "lamb"}, "optimizer: got 'lamb'"),
        ({"triplets": "hard"}, "triplets: got 'hard'"),
        ({"start": "ones"}, "start: got 'ones'"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        small_options(**options)
