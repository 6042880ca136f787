"The training loop where a notebook cell cannot go: killed processes, several processes, a pair learned by heart."

import dataclasses
import json
import math
import os
import subprocess
import sys
import time

import psutil
import pytest
import torch

from mcnet.baseline.generator import Generator, GeneratorConfig
from mcnet.baseline.grid import identity_grid, warp
from mcnet.baseline.keypoints import KeypointConfig, KeypointDetector
from mcnet.baseline.motion import DenseMotion, MotionConfig
from mcnet.baseline.talking_head import TalkingHead
from mcnet.core import Pair, UserError
from mcnet.training.batches import join_pairs, mix_samples
from mcnet.training.checkpoints import averaged_weights, read_checkpoint, start_run
from mcnet.training.loop import train, train_step
from mcnet.training.perceptual import FilterFeatures, PerceptualLoss
from mcnet.training.recipes import Schedule, TrainConfig
from mcnet.training.terms import LossWeights, generator_player

QUICK = TrainConfig.quick().replace(steps=10, minutes=0.0, log_every=5, norm_batches=2, amp="no", milestones=())


def network(width=4, seed=0):
    "The smallest network that is one."
    torch.manual_seed(seed)
    detector = KeypointConfig(num_keypoints=4, width=width, cap=4 * width, blocks=2, scale=1, kernel=5, padding=2)
    motion = MotionConfig(num_keypoints=4, width=width, cap=4 * width, blocks=2, scale=1, kernel=5)
    generator = GeneratorConfig((width, 2 * width), residual_blocks=(1, 0), kernel=5, fuse=True)
    return TalkingHead(KeypointDetector(detector), DenseMotion(motion), Generator(generator))


class Shifted:
    "Batch n: smooth noise, and the same moved by a random offset; its truth when asked for."

    def __init__(self, count=4, size=16, truth=False):
        self.count, self.size, self.truth = count, size, truth

    def batch(self, number):
        generator = torch.Generator().manual_seed(number)
        small = torch.rand(self.count, 3, 4, 4, generator=generator)
        source = torch.nn.functional.interpolate(small, size=self.size, mode="bilinear")
        offset = 0.4 * torch.rand(self.count, 1, 1, 2, generator=generator) - 0.2
        deformation = identity_grid(self.size, self.size) + offset
        driving = warp(source, deformation, padding="border")
        visible = (deformation.abs().amax(-1) <= 1).float()[:, None]
        return Pair(source, driving, *((deformation, visible) if self.truth else ()))


def run(model, pairs=None, config=QUICK, **options):
    "Train on the CPU with the weight-free features."
    perceptual = PerceptualLoss(FilterFeatures())
    return train(model, pairs or Shifted(), config, perceptual=perceptual, device="cpu", **options)


def begin(model, config):
    "A run of the smallest kind that has not taken a step."
    player = generator_player(model, PerceptualLoss(FilterFeatures()), config.losses)
    return start_run([player], config, device="cpu")


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


def test_one_pair_is_learned_by_heart():
    "Given one batch again and again, the network reproduces it."
    pair = Shifted(2, 32).batch(0)
    config = QUICK.replace(steps=120, learning_rate=5e-3, ema=0.9)
    model = network(width=8)
    history = run(model, [pair], config)
    with torch.no_grad():
        error = (model(pair.source, pair.driving).image - pair.driving).abs().mean()
    copying = (pair.source - pair.driving).abs().mean()
    assert error < 0.4 * copying, f"error {error:.3f}, copying {copying:.3f}"
    assert history.rows[-1]["loss"] < 0.5 * history.rows[0]["loss"]


def test_bfloat16_agrees_with_float32():
    "The same step in either precision gives nearly the same losses."
    losses = []
    for amp in ("no", "bf16"):
        state = begin(network(), QUICK.replace(amp=amp))
        train_step(state, Shifted().batch(0))
        losses.append(state.pending[0][0].item())
    assert abs(losses[1] / losses[0] - 1) < 0.02, losses


def test_guidance_with_and_without_truth():
    "Pairs without truth take no part in the guiding losses, and nobody becomes NaN."
    guided = TrainConfig.guided().replace(steps=5, minutes=0, log_every=1, norm_batches=1, milestones=(), amp="no")
    told = run(network(), mix_samples([Shifted(3), Shifted(2, truth=True)]), guided)
    assert told.rows[0]["flow"] > 0 and told.rows[-1]["flow"] == 0
    silent = run(network(), Shifted(), guided)
    assert all(row["flow"] == 0 for row in silent.rows)


def test_minutes_end_a_run():
    "A limit in minutes holds, and the schedule follows it."
    history = run(network(), config=QUICK.replace(steps=0, minutes=0.03, log_every=1))
    assert 1.8 <= history.rows[-1]["seconds"] < 20
    assert history.rows[-1]["learning_rate"] < 0.1 * QUICK.schedule.learning_rate


PARTS = {part.name: getattr(QUICK, part.name) for part in dataclasses.fields(QUICK)}
FIELDS = [(name, field.name) for name, part in PARTS.items() for field in dataclasses.fields(part)]
WRONG = {  # by the type of a setting
    bool: (0, 1, "yes", None),
    str: (3, None, math.nan),
    tuple: ((0.5, -1.0), (0.5, math.nan), 0.5, ("a", "b"), [0.5, 0.6]),
    int: (math.nan, math.inf, 0.5, -(10**15), True, "much", None),
    float: (math.nan, math.inf, -math.inf, -0.5, True, "much", None, torch.ones(1)),
}


@pytest.mark.parametrize(("part", "name"), FIELDS, ids=lambda word: word)
def test_every_setting_has_limits(part, name):
    "What is no number, no share, no such word is refused in one sentence that names the setting and what is allowed."
    usual = getattr(PARTS[part], name)
    for value in WRONG[type(usual)]:
        with pytest.raises(UserError, match=f"^{name} (is|are) [^;]{{0,60}}; give .+") as caught:
            QUICK.replace(**{name: value})
        assert len(str(caught.value)) < 200
    assert getattr(getattr(QUICK.replace(**{name: usual}), part), name) == usual


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [("warmup", 1.0, False), ("warmup", 0.0, True), ("guided_until", 0.0, False), ("guided_until", 1.0, True),
     ("ema", 1.0, True), ("ema", 1.1, False), ("floor", 2.0, False), ("keep", 0, False), ("accumulate", 0, False),
     ("accumulate", 1.5, False), ("distance_form", "step", False), ("amp", "fp8", False), ("shape", "stairs", False),
     ("milestones", (0.5, 0.2), False), ("milestones", (0.0, 1.0), True), ("betas", (0.9, 1.0), False)],
)  # fmt: skip
def test_the_ends_of_the_limits(name, value, fits):
    "Where a setting's interval ends, and that what it allows does no harm."
    if not fits:
        with pytest.raises(UserError, match=name):
            QUICK.replace(**{name: value})
        return
    config = QUICK.replace(**{name: value}, steps=2, flow=1.0, log_every=1)
    assert math.isfinite(run(network(), Shifted(truth=True), config).rows[-1]["loss"])


def test_a_config_in_parts():
    "Parts and settings may be given; a name that no part knows is refused; a file gives back what it was given."
    config = TrainConfig(losses=LossWeights(flow=2.0), schedule=Schedule(steps=5)).replace(batch_size=3)
    assert (config.recipe, config.schedule.steps, config.run.batch_size) == ("guided", 5, 3)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(UserError, match="no setting speed; choose perceptual"):
        config.replace(speed=3)
    with pytest.raises(UserError, match="neither steps nor minutes"):
        config.replace(steps=0)


# ---- precision, parts, processes


def test_fp16_needs_cuda():
    "On a processor float16 is refused in one sentence."
    with pytest.raises(UserError, match="amp fp16 needs a CUDA device, but this run is on cpu"):
        run(network(), config=QUICK.replace(amp="fp16"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="float16 trains on CUDA only, and there is no CUDA device")
def test_fp16_learns_on_cuda():
    "float16 gives nearly the losses of float32, and an overflow does not end the run."
    losses = {}
    for amp in ("no", "fp16"):
        config, perceptual = QUICK.replace(amp=amp), PerceptualLoss(FilterFeatures())
        history = train(network(width=8), Shifted(), config, perceptual=perceptual, device="cuda")
        losses[amp] = history.rows[-1]["loss"]
    assert abs(losses["fp16"] / losses["no"] - 1) < 0.1, losses


def test_an_overflow_is_left_out():
    "The scaler of float16, as it would work on a GPU: too large a scale costs a step, not the run, and is halved."
    state = begin(network(), QUICK)
    scaler = state.learners[0].scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1000)
    before = [parameter.clone() for parameter in state.model.parameters()]
    train_step(state, Shifted().batch(0))
    assert all(torch.equal(a, b) for a, b in zip(before, state.model.parameters(), strict=True))
    assert state.pending[0].isfinite().all() and scaler.get_scale() == 2.0**126
    while scaler.get_scale() > 2.0**100:
        scaler.update(2.0**16)
    train_step(state, Shifted().batch(1))
    assert not torch.equal(before[0], next(iter(state.model.parameters())))


class Joined:
    "Batch n: batches 2n and 2n + 1 of `Shifted` as one."

    def batch(self, number):
        return join_pairs([Shifted().batch(2 * number), Shifted().batch(2 * number + 1)])


FROZEN = QUICK.replace(steps=20, log_every=1, frozen_norms=True, learning_rate=1e-3)


def test_parts_are_one_large_batch():
    "Gradients of two accumulated batches are those of both in one; with clipping, scaling of the loss and transforms."
    gradients = []
    for parts in ([Joined().batch(0)], [Shifted().batch(0), Shifted().batch(1)]):
        state = begin(network(), FROZEN)
        train_step(state, *parts)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in state.model.parameters()]))
    assert (gradients[0] - gradients[1]).norm() <= 1e-5 * gradients[0].norm()


def probe(model):
    "What a trained network makes of a pair that it has not seen."
    pair = Shifted().batch(99)
    with torch.no_grad():
        return model.eval()(pair.source, pair.driving).image


def share(folder):
    "One of two processes: train, and leave what came of it."
    model = network()
    history = run(model, config=FROZEN)
    torch.save([probe(model), model.state_dict(), history.curve()], f"{folder}/{os.environ['RANK']}.pt")


def test_two_processes_are_one(tmp_path):
    "Two processes with a batch each: equal to each other, and for 20 steps one process with both batches in one."
    code = "import test_training as t, sys; t.share(sys.argv[1])"
    ports = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29500 + os.getpid() % 500), "WORLD_SIZE": "2"}
    ports |= {"OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path],
            cwd=os.path.dirname(__file__),
            env=os.environ | ports | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    alone = network()
    curve = run(alone, Joined(), FROZEN).curve()
    assert [process.wait(timeout=300) for process in started] == [0, 0]
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert all(torch.equal(halves[0][1][name], halves[1][1][name]) for name, _ in alone.named_parameters())
    assert torch.allclose(halves[0][0], probe(alone), atol=1e-4, rtol=0)
    means = [(a + b) / 2 for (_, a), (_, b) in zip(halves[0][2], halves[1][2], strict=True)]
    assert all(abs(mean / loss - 1) < 1e-4 for mean, (_, loss) in zip(means, curve, strict=True))


def test_a_compiler_that_fails_is_named(monkeypatch):
    "Where torch.compile cannot work, one sentence says so."

    def broken(function):
        def call(*images):
            raise RuntimeError("no working C++ compiler was found\nTraceback …")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UserError, match="torch.compile failed .no working C.. compiler was found.; leave compile out"):
        run(network(), config=QUICK.replace(compile=True))


# ---- what a run leaves


def test_the_best_milestone_is_kept(tmp_path):
    "best.pt is of the milestone with the best number; a name that the score lacks is an error."
    values = iter([1.0, 3.0, 2.0])
    config = QUICK.replace(milestones=(0.2, 0.6, 1.0))
    run(network(), config=config, out=tmp_path, score=lambda model: {"psnr": next(values)}, best="psnr")
    assert read_checkpoint(tmp_path / "best.pt")["step"] == 6
    assert read_checkpoint(tmp_path / "checkpoint.pt")["step"] == 10
    network().load_state_dict(averaged_weights(tmp_path / "best.pt"))
    with pytest.raises(UserError, match="best is ssim, but the score has step, seconds, psnr"):
        run(network(), config=config, score=lambda model: {"psnr": 1.0}, best="ssim")


def test_rows_say_how_fast(tmp_path):
    "Every row has the speed, the share of waiting and the memory; a slow source is seen as one."

    class Slow(Shifted):
        def batch(self, number):
            time.sleep(0.25)
            return super().batch(number)

    for pairs in (Shifted(), Slow()):
        row = run(network(), pairs).rows[-1]
        assert row["images_per_second"] > 0 and 0.05 < row["memory_gb"] < 100 and 0 <= row["data_wait"] <= 1
    assert row["images_per_second"] < 4 / 0.25 * 1.3


def test_memory_stands_still():
    "A hundred and twenty steps of the smallest network: after the first fifty the process grows by no more than 5 MB."
    sizes = []
    config = QUICK.replace(steps=120, log_every=10, perceptual=0.0, equivariance=0.0, jacobian=0.0)
    run(network(), Shifted(1), config, on_step=lambda state: sizes.append(psutil.Process().memory_info().rss / 1e6))
    assert max(sizes[50:]) - sizes[50] <= 5, f"from {sizes[50]:.0f} to {max(sizes[50:]):.0f} MB"


def test_tensorboard_needs_a_folder(tmp_path):
    "Without a folder, or without the package, one sentence; with both, a file of events."
    config = QUICK.replace(tensorboard=True)
    with pytest.raises(UserError, match="give out"):
        run(network(), config=config)
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra `train`)")
    run(network(), config=config, out=tmp_path, preview=Shifted().batch(0))
    assert list((tmp_path / "tensorboard").glob("events.*"))
