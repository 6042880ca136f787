"""The trials behind pages 10c to 15a: each upgrade of the memory on the same task, from the same start, seed by seed.

    python scripts/run_trials.py --seeds 8 --cache runs/cache       # about half a minute a run on one core

The task (page 10a): true motion is given, and the network paints what the source hides. Scores of every seed go to
data/trials/scores.json, the networks of seed 0 to data/trials/NAME.safetensors. Runs that are already there are kept.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn

from mcnet.baseline.generator import Generator
from mcnet.baseline.keypoints import KeypointConfig
from mcnet.baseline.motion import MotionConfig
from mcnet.core import Compensated, Context, Keypoints
from mcnet.doors import atomic_path
from mcnet.memory.bank import MemoryConfig
from mcnet.memory.compensation import MemoryCompensation
from mcnet.memory.dynconv import DynamicConfig
from mcnet.memory.network import MCNetConfig, build_compensator
from mcnet.memory.scale import ScaleConfig
from mcnet.memory.trial import POINTS, TrialConfig, TrialPairs, hidden_psnr, make_painter, train_painter
from mcnet.weightfile import save_weights

FOLDER = Path(__file__).parents[1] / "data" / "trials"
TASK = TrialConfig()
MEMORY = MemoryConfig(channels=32, height=8, width=8, temperature=32**0.5, levels=3)
SCALE, DYNAMIC = ScaleConfig(hidden=32), DynamicConfig(kernels=2)


class Silent(nn.Module):
    "The control: a memory whose every answer is zero, so that only the path around it is left."

    def __init__(self, key_value: nn.Module):
        super().__init__()
        self.key_value = key_value

    def forward(self, memory: torch.Tensor, projected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = self.key_value(memory, projected)
        return key, torch.zeros_like(value)


class Sealed(nn.Module):
    "A memory reader that sees the projected feature and sends no gradient back into it."

    def __init__(self, memory: nn.Module):
        super().__init__()
        self.memory = memory

    def forward(self, projected: torch.Tensor, keypoints: Keypoints) -> torch.Tensor:
        return self.memory(projected.detach(), keypoints)


class Pointwise(MemoryCompensation):
    "The second control: what asks goes through the module's 1 × 1 layers, and no memory is asked."

    def forward(self, feature: torch.Tensor, context: Context) -> Compensated:
        kept, asking = feature.chunk(2, dim=1)
        query = self.query(self.project[context.level](asking)).relu()
        return Compensated(torch.cat([self.output[context.level](query), kept], dim=1))


def variant(**parts) -> MCNetConfig:
    "The trial's sizes, with these parts of the memory."
    return MCNetConfig(
        image_size=TASK.size, keypoints=KeypointConfig(num_keypoints=len(POINTS)),
        motion=MotionConfig(num_keypoints=len(POINTS)), generator=TASK.generator, **parts,
    )


VARIANTS = {  # name: the parts, and what is unlike in the training
    "baseline": (variant(), {}),
    "silent": (variant(memory=MEMORY), {"consistency": 0.0}),
    "pointwise": (variant(memory=MEMORY), {"consistency": 0.0}),
    "mcm": (variant(memory=MEMORY), {}),
    "mcm-whole": (variant(memory=MEMORY.replace(split=False)), {}),
    "mcm-free": (variant(memory=MEMORY), {"consistency": 0.0}),
    "mcm-loud": (variant(memory=MEMORY.replace(spread=1.0)), {"faster": 1.0}),
    "iscm": (variant(memory=MEMORY, scale=SCALE), {}),
    "iscm-sealed": (variant(memory=MEMORY, scale=SCALE), {}),
    "mcnet": (variant(memory=MEMORY, scale=SCALE, dynamic=DYNAMIC), {}),
    "mcnet-deepest": (variant(memory=MEMORY.replace(levels=1), scale=SCALE, dynamic=DYNAMIC), {}),
}


def build(name: str, seed: int) -> Generator:
    "The untrained painter of a variant."
    config, _ = VARIANTS[name]
    torch.manual_seed(1_000 + seed)
    compensator = build_compensator(config)
    if name == "silent":
        compensator.key_value = Silent(compensator.key_value)
    if name == "pointwise":
        control = Pointwise(config.generator.channels[::-1], config.memory, compensator.memory, compensator.key_value)
        control.load_state_dict(compensator.state_dict())
        compensator = control
    if name == "iscm-sealed":
        compensator.memory = Sealed(compensator.memory)
    return make_painter(config.generator, compensator, seed)


def run(name: str, seed: int, train: TrialPairs, judges: TrialPairs):
    "One training; returns the painter and (people, 2) scores."
    painter = build(name, seed)
    train.config = TASK.replace(**VARIANTS[name][1])
    train_painter(painter, train, seed)
    return painter, hidden_psnr(painter, judges)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("names", nargs="*", choices=[[], *VARIANTS], help="only these variants")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir(exist_ok=True)
    train = TrialPairs(TASK, cache=options.cache / "trial-train.pt")
    judges = TrialPairs(TASK, judges=True, cache=options.cache / "trial-judges.pt")
    path = FOLDER / "scores.json"
    table = json.loads(path.read_text()) if path.exists() else {}
    for seed in range(options.seeds):
        for name in options.names or VARIANTS:
            rows = table.setdefault(name, {"hidden": [], "whole": []})
            if len(rows["hidden"]) > seed:
                continue
            began = time.perf_counter()
            painter, scores = run(name, seed, train, judges)
            for kind, column in zip(rows, scores.T, strict=True):
                rows[kind].append([round(value, 4) for value in column.tolist()])
            if seed == 0:
                save_weights(FOLDER / f"{name}.safetensors", painter.state_dict(), VARIANTS[name][0], half=True)
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(table, separators=(",", ":")).replace("]],", "]],\n") + "\n")
            hidden, whole = scores.mean(0).tolist()
            seconds = time.perf_counter() - began
            print(f"{name} {seed}: hidden {hidden:.2f} dB, whole {whole:.2f} dB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
