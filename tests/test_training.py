"The training loop where a notebook cell cannot go: killed processes, several processes, a pair learned by heart."

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from mcnet.core import Pair, UserError, load_weights
from mcnet.generator import Generator, GeneratorConfig, TalkingHead
from mcnet.grid import identity_grid, warp
from mcnet.keypoints import KeypointConfig, KeypointDetector
from mcnet.losses import FilterFeatures, PerceptualLoss
from mcnet.motion import DenseMotion, MotionConfig
from mcnet.training import TrainConfig, mix, start_run, train, train_step

QUICK = TrainConfig.quick().replace(steps=10, minutes=0, log_every=5, norm_batches=2, amp="no", milestones=())


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


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


def test_a_killed_process_goes_on(tmp_path):
    "SIGKILL at any moment; the run that goes on ends with the weights of one that was never interrupted."
    code = (
        "import test_training as t, time, sys\n"
        "config = t.QUICK.replace(save_minutes=0)\n"
        "t.run(t.network(), config=config, out=sys.argv[1], on_step=lambda state: time.sleep(0.3))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=os.path.dirname(__file__), env=environment)
    deadline = time.time() + 120
    while not (tmp_path / "checkpoint.pt").exists() and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] < QUICK.steps
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    through, resumed = network(), network(seed=1)
    run(through)
    run(resumed, out=tmp_path)
    torch.set_num_threads(threads)
    assert equal(through.state_dict(), resumed.state_dict())
    tensors, _, notes = load_weights(tmp_path / "weights.safetensors")
    assert notes["recipe"] == "paper" and set(tensors) == set(through.state_dict())


def test_a_broken_checkpoint_is_named(tmp_path):
    "Half a file is refused in one sentence, and stays where it is."
    run(network(), out=tmp_path)
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match="checkpoint.pt is not a complete checkpoint"):
        run(network(), out=tmp_path)
    assert file.stat().st_size == 1000


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
        state = start_run(network(), QUICK.replace(amp=amp), PerceptualLoss(FilterFeatures()), device="cpu")
        train_step(state, Shifted().batch(0))
        losses.append(state.pending[0][0].item())
    assert abs(losses[1] / losses[0] - 1) < 0.02, losses


def test_guidance_with_and_without_truth():
    "Pairs without truth take no part in the guiding losses, and nobody becomes NaN."
    guided = TrainConfig.guided().replace(steps=5, minutes=0, log_every=1, norm_batches=1, milestones=(), amp="no")
    told = run(network(), mix([Shifted(3), Shifted(2, truth=True)]), guided)
    assert told.rows[0]["flow"] > 0 and told.rows[-1]["flow"] == 0
    silent = run(network(), Shifted(), guided)
    assert all(row["flow"] == 0 for row in silent.rows)


def test_minutes_end_a_run():
    "A limit in minutes holds, and the schedule follows it."
    history = run(network(), config=QUICK.replace(steps=0, minutes=0.03, log_every=1))
    assert 1.8 <= history.rows[-1]["seconds"] < 20
    assert history.rows[-1]["learning_rate"] < 0.1 * QUICK.learning_rate


def share(folder):
    "One of two processes: train, and leave the weights."
    model = network()
    run(model)
    torch.save(model.state_dict(), f"{folder}/{os.environ['RANK']}.pt")


def test_two_processes_share_a_run(tmp_path):
    "Every process takes its own batches, and all end with the same parameters."
    code = "import test_training as t, sys; t.share(sys.argv[1])"
    ports = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29500 + os.getpid() % 500), "WORLD_SIZE": "2"}
    ports |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path],
            cwd=os.path.dirname(__file__),
            env=os.environ | ports | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=300) for process in started] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = network()
    run(alone)
    names = [name for name, _ in alone.named_parameters()]
    assert all(torch.equal(first[name], second[name]) for name in names)
    assert not all(torch.equal(first[name], alone.state_dict()[name]) for name in names)
