"""How a memory comes to look like faces: bank and values while a painter is trained, with and without consistency loss.

    python scripts/run_births.py --seeds 4 --cache runs/cache       # about two minutes a run on one core

The trainings are those of `mcm` and `mcm-free` of scripts/run_trials.py, watched at some moments. The third, `unheard`,
has the loss and no use: what its memory answers is thrown away. The numbers of all seeds go to data/births.json; the
bank, the values and the mean projected feature of seed 0 to mcnet/assets/births.safetensors.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import mean

import torch
import torch.nn.functional as F
from run_trials import TASK, VARIANTS, build

from mcnet.baseline.compensator import compensate
from mcnet.baseline.generator import Generator
from mcnet.baseline.grid import resize_map
from mcnet.core import Compensated, Context
from mcnet.doors import atomic_path
from mcnet.memory.compensation import MemoryCompensation
from mcnet.memory.trial import Task, TrialPairs, hidden_psnr, train_painter
from mcnet.weightfile import save_weights

ROOT = Path(__file__).parents[1]
STEPS = (0, 10, 20, 40, 60, 90, 130, 180, 250, 350, 470, 600)
BIRTHS = {"on": "mcm", "off": "mcm-free", "unheard": "mcm"}  # name here: in scripts/run_trials.py
KEPT = ("on", "off")  # whose maps are kept


class Unheard(MemoryCompensation):
    "A memory that learns by its loss alone: what it answers is replaced by zero before anybody hears it."

    def forward(self, feature: torch.Tensor, context: Context) -> Compensated:
        kept, projected, inner = self.ask(feature, context)
        nothing = self.output[context.level](torch.zeros_like(inner["query"]))
        return Compensated(torch.cat([nothing, kept], dim=1), inner["value"], projected)


@torch.no_grad()
def projections(painter: Generator, tasks: list[Task]) -> torch.Tensor:  # (levels, N, C_m, H_m, W_m)
    "What the loss compares the values with."
    side = painter.compensator.bank().shape[-2:]
    rows = []
    for task in tasks:
        context = Context(task.keypoints, task.motion)
        made = compensate(painter.encode(task.pair.source), context, painter.compensator)[1]
        rows.append(torch.stack([resize_map(level.projected, *side) for level in made]))
    return torch.cat(rows, dim=1)


def alike(maps: torch.Tensor, target: torch.Tensor) -> float:  # (C, M) each
    "The correlation over places, median over channels."
    maps, target = (m - m.mean(1, keepdim=True) for m in (maps, target))
    return F.cosine_similarity(maps, target, dim=1).median().item()


def nearest(maps: torch.Tensor, target: torch.Tensor) -> float:  # (C, M) each
    "For each channel of the target its correlation with the map that is most like it, of either sign; the median."
    maps, target = (F.normalize(m - m.mean(1, keepdim=True), dim=1) for m in (maps, target))
    return (target @ maps.T).abs().amax(1).median().item()


@torch.no_grad()
def look(painter: Generator, born: torch.Tensor, judges: TrialPairs) -> tuple[dict, dict]:
    "The maps of this moment, (C_m, H_m, W_m) each, and its numbers."
    bank = painter.compensator.bank()
    value = painter.compensator.key_value.value(bank)  # (1, C_m, H_m, W_m), the same for every picture
    projected = projections(painter, list(judges.everybody()))
    target = projected.mean((0, 1))
    places = value[0].flatten(1), target.flatten(1)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(places[0].shape[1], generator=generator) for _ in range(20)]
    numbers = {
        "hidden": hidden_psnr(painter, judges)[:, 0].mean().item(),
        "distance": (value - projected).abs().mean().item(),
        "least": (projected.flatten(0, 1).median(0).values - projected).abs().mean().item(),
        "faceness": alike(*places),
        "shuffled": mean([alike(places[0][:, order], places[1]) for order in orders]),
        "inner": alike(*[m[..., 1:-1, 1:-1].flatten(1) for m in (value[0], target)]),
        "kept": alike(bank[0].flatten()[None], born.flatten()[None]),
        "bank": nearest(bank[0].flatten(1), places[1]),
        "bank_shuffled": mean([nearest(bank[0].flatten(1)[:, order], places[1]) for order in orders]),
    }
    return {"bank": bank[0].clone(), "value": value[0], "target": target}, numbers


def birth(name: str, seed: int, train: TrialPairs, judges: TrialPairs) -> tuple[list[dict], list[dict]]:
    "One training, watched: the maps and the numbers of each moment."
    painter = build(BIRTHS[name], seed)
    config, changes = VARIANTS[BIRTHS[name]]
    if name == "unheard":
        heard = painter.compensator
        painter.compensator = Unheard(config.generator.channels[::-1], config.memory, heard.memory, heard.key_value)
        painter.compensator.load_state_dict(heard.state_dict())
    train.config = TASK.replace(**changes)
    born, seen = painter.compensator.bank().clone(), []

    def watch(step: int):
        if step in STEPS:
            seen.append(look(painter.eval(), born, judges))
            painter.train()

    train_painter(painter, train, seed, watch)
    maps, numbers = zip(*seen, strict=True)
    return maps, numbers


def write(table: dict, kept: dict[str, torch.Tensor]):
    "The numbers of all seeds, and the maps of seed 0 with their numbers."
    first = {name: {measure: rows[0] for measure, rows in table[name].items()} for name in KEPT}
    notes = {"steps": json.dumps(STEPS), "numbers": json.dumps(first)}
    save_weights(ROOT / "mcnet" / "assets" / "births.safetensors", kept, VARIANTS["mcm"][0].memory, half=True, **notes)
    text = json.dumps({"steps": STEPS} | table, separators=(",", ":"))
    with atomic_path(ROOT / "data" / "births.json") as temporary:
        temporary.write_text(text.replace("]],", "]],\n").replace("]]},", "]]},\n") + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    train = TrialPairs(TASK, cache=options.cache / "trial-train.pt")
    judges = TrialPairs(TASK, judges=True, cache=options.cache / "trial-judges.pt")
    table, kept = {name: {} for name in BIRTHS}, {}
    for seed in range(options.seeds):
        for name in BIRTHS:
            began = time.perf_counter()
            maps, numbers = birth(name, seed, train, judges)
            for measure in numbers[0]:
                table[name].setdefault(measure, []).append([round(moment[measure], 4) for moment in numbers])
            if seed == 0 and name in KEPT:
                kept |= {f"{name}.{kind}": torch.stack([moment[kind] for moment in maps]) for kind in maps[0]}
            last = ", ".join(f"{measure} {value:.2f}" for measure, value in numbers[-1].items())
            print(f"{name} {seed}: {time.perf_counter() - began:.0f} s, {last}", flush=True)
        write(table, kept)


if __name__ == "__main__":
    main()
