"""The expected curves of page 31c: one short training of `tiny` on drawn heads, from several seeds, and broken ones.

    python scripts/run_curves.py --out runs/curves      # ten times two to three minutes of one core

Each seed has its own weights, people and order of pairs; all are scored on the same twelve people, whom none has seen.
Losses and scores go to mcnet/assets/curves-tiny.json, to four digits; predictions of seed 0 to
data/curves/stages.safetensors. Runs that are already there are kept.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from mcnet.core import Pair
from mcnet.doors import atomic_path
from mcnet.evaluation.curves import SHOWN, judge_pairs, reference_config, reference_pairs, run_reference

ASSET = Path(__file__).parents[1] / "mcnet" / "assets" / "curves-tiny.json"
STAGES = Path(__file__).parents[1] / "data" / "curves" / "stages.safetensors"
SEEDS = 7  # three make the band, one taught how wide it has to be, three test it


class MixedUp:
    "A bug in the data: each source with another one's driving frame."

    def __iter__(self):
        for pair in reference_pairs():
            yield Pair(pair.source, pair.driving.roll(1, 0))


def broken_runs() -> dict[str, dict]:
    "Mistakes that everybody makes once, as arguments of `run_reference`."
    config = reference_config()
    return {
        "rate x 20": {"config": config.replace(learning_rate=20 * config.schedule.learning_rate)},
        "pairs mixed up": {"pairs": MixedUp()},
        "detector frozen": {"frozen": "detector"},
    }


def rounded(rows: list[dict]) -> list[dict]:
    "Four digits are enough for a curve."
    return [{name: float(f"{value:.4g}") for name, value in row.items()} for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    STAGES.parent.mkdir(exist_ok=True)
    judges, runs = judge_pairs(), {}
    for name, some in ({f"seed {seed}": {"seed": seed} for seed in range(SEEDS)} | broken_runs()).items():
        path = options.out / f"{name.replace(' ', '-')}.json"
        if not path.exists():
            history, stages = run_reference(**some, judges=judges)
            if name == "seed 0":
                rows = list(SHOWN)
                pictures = {"source": judges.source[rows], "truth": judges.driving[rows], "predicted": stages}
                save_file({n: (255 * p).round().byte().contiguous() for n, p in pictures.items()}, STAGES)
            path.write_text(json.dumps(dataclasses.asdict(history)))
        runs[name] = {part: rounded(rows) for part, rows in json.loads(path.read_text()).items()}
    with atomic_path(ASSET) as temporary:
        temporary.write_text(json.dumps({"torch": torch.__version__, "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
