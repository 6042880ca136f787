"""The trials of the codebooks: what each part is worth on drawn people, seed by seed.

    python scripts/run_codebooks.py --seeds 3 --cache runs/cache      # four minutes a run on one core

One detector and one dense motion, trained once on the truth of the renderer and then held still, give every network
the same imperfect flow M⁰. What stands behind them is trained from the same start on the picture alone: nobody is told
the true flow. Scores of every seed, on people nobody learned from, go to data/codebooks/scores.json; the networks of
seed 0 that are shown to data/codebooks/NAME.safetensors. Runs that are already there are kept.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from mcnet.baseline.compensator import Compensator, refine_motion, warp_feature
from mcnet.baseline.layers import count_parameters
from mcnet.baseline.talking_head import OnlyWarped, TalkingHead
from mcnet.codebooks.players import CodebookPrediction, CodebookWeights, codebook_terms, count_codes
from mcnet.codebooks.retrieval import RetrievalConfig, RetrievalLayer
from mcnet.codebooks.system import Codebooks, CodebooksConfig, retrieval
from mcnet.core import Compensated, Context, Motion, Pair
from mcnet.doors import atomic_path
from mcnet.evaluation.truth import flow_error, occlusion_scores
from mcnet.heads.faces import FacePairs
from mcnet.memory.files import load_model, save_model
from mcnet.training.loop import train_players
from mcnet.training.recipes import TrainConfig
from mcnet.training.terms import LossWeights, Player, generator_player, picture_terms

FOLDER = Path(__file__).parents[1] / "data" / "codebooks"
SIZE, STEPS, BATCH = 32, 300, 12
TINY = CodebooksConfig.tiny()
FULL = TINY.replace(
    image_size=SIZE, painter=TINY.painter.replace(width=8, blocks=1),
    keypoints=TINY.keypoints.replace(width=12, cap=64, blocks=3),
    motion=TINY.motion.replace(width=16, cap=64, blocks=3),
    flow=TINY.flow.replace(memory=retrieval(64, 16, 4, 4, 1.0), size=16, hidden=24),
    appearance=retrieval(64, 32, 4, 4, 1.0),
)  # fmt: skip
LOSSES = LossWeights(perceptual=0.0, l1=20.0, warped=5.0)


def asked(change: Callable[[RetrievalConfig], RetrievalConfig]) -> CodebooksConfig:
    "The full network with both of its retrievals changed."
    return FULL.replace(flow=FULL.flow.replace(memory=change(FULL.flow.memory)), appearance=change(FULL.appearance))


def tabled(**changes) -> CodebooksConfig:
    "The full network with both of its tables changed."
    return asked(lambda retrieval: retrieval.replace(table=retrieval.table.replace(**changes)))


class AroundStep(nn.Module):
    "Does something to what a step does."

    def __init__(self, step: nn.Module):
        super().__init__()
        self.step = step
        self.memory, self.embedding = step.memory, step.embedding


class DeepestStep(AroundStep):
    "The flow is mended at the deepest scale and then stays."

    def forward(self, level: int, motion: Motion, feature: torch.Tensor, context: Context):
        if level == 0:
            return self.step(level, motion, feature, context)
        motion = refine_motion(motion, level, motion.deformation, motion.occlusion)
        return motion, warp_feature(feature, motion)


class HeldMask(AroundStep):
    "The flow is mended; what is kept of the source stays as the dense motion said."

    def forward(self, level: int, motion: Motion, feature: torch.Tensor, context: Context):
        mended, _ = self.step(level, motion, feature, context)
        motion = refine_motion(motion, level, mended.deformation, motion.occlusion)
        return motion, warp_feature(feature, motion)


class DeepestAppearance(Compensator):
    "The deepest feature is mended, the others pass."

    def __init__(self, compensator: Compensator):
        super().__init__()
        self.inner, self.memory, self.tokens = compensator, compensator.memory, compensator.tokens

    def forward(self, feature: torch.Tensor, context: Context) -> Compensated:
        return self.inner(feature, context) if context.level == 0 else Compensated(feature)


class CosineAsking(nn.Module):
    "Attention by the angle alone, with a learned sharpness for each head: short codes do not make everybody alike."

    def __init__(self, like: nn.MultiheadAttention):
        super().__init__()
        width, self.heads = like.embed_dim, like.num_heads
        self.question, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        for linear, weight in zip((self.question, self.key, self.value), like.in_proj_weight.chunk(3), strict=True):
            linear.load_state_dict({"weight": weight, "bias": torch.zeros(width)})
        self.said, self.sharpness = like.out_proj, nn.Parameter(torch.full((self.heads, 1, 1), 10.0))

    def forward(self, tokens: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, need_weights: bool):
        heads = lambda linear, words: linear(words).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        asked, heard = F.normalize(heads(self.question, tokens), dim=-1), F.normalize(heads(self.key, keys), dim=-1)
        shares = (self.sharpness * asked @ heard.mT).softmax(-1)  # (B, heads, N, m)
        answer = self.said((shares @ heads(self.value, values)).transpose(1, 2).flatten(2))
        return answer, shares.mean(1) if need_weights else None


VARIANTS = {
    "full": FULL,
    "no flow": FULL.replace(flow=None),
    "no appearance": FULL.replace(appearance=None),
    "neither": FULL.replace(flow=None, appearance=None),
    "no tables": asked(RetrievalConfig.without_table),
    "cosine": FULL,
    "no side paths": FULL,
    "deepest alone": FULL,
    "mask held": FULL,
    "mask held, no tables": asked(RetrievalConfig.without_table),
    "disjoint": tabled(allocation="disjoint"),
    "all codes": tabled(allocation="all"),
    "born quiet": tabled(spread=0.0),
    "replaced": FULL.replace(added=False),
    "paints all": FULL.replace(painter=FULL.painter.replace(composite=False)),
}
SHOWN = "full", "no tables", "neither"  # kept to be looked at
UNPAID = CodebookWeights(motion_codes=0.0, motion_said=0.0, appearance_codes=0.0)


def build(name: str, seed: int, estimator: Codebooks) -> Codebooks:
    "The untrained network of a variant: painter and parts of equal name and shape start from the same numbers."
    torch.manual_seed(1_000 + seed)
    start = Codebooks(FULL).state_dict()
    network = Codebooks(VARIANTS[name])
    mine = network.state_dict()
    own = {"born quiet": ".table.codes", "replaced": ".paste."}.get(name, "none")  # how they are born is the point
    fits = lambda key, tensor: key in start and start[key].shape == tensor.shape and own not in key
    network.load_state_dict({key: start[key] if fits(key, tensor) else tensor for key, tensor in mine.items()})
    for part in ("detector", "motion"):
        network.get_submodule(part).load_state_dict(estimator.get_submodule(part).state_dict())
    if name == "deepest alone":
        network.generator.step = DeepestStep(network.generator.step)
        network.generator.compensator = DeepestAppearance(network.generator.compensator)
    if name.startswith("mask held"):
        network.generator.step = HeldMask(network.generator.step)
    if name == "cosine":
        for layer in network.modules():
            if isinstance(layer, RetrievalLayer):
                layer.codes = CosineAsking(layer.codes)
    return network


def predict(network: Codebooks, pair: Pair) -> CodebookPrediction:
    "A forward pass whose keypoints and first flow are held still."
    with torch.no_grad():
        network.detector.eval()
        network.motion.eval()
        points = network.detect_keypoints(pair.source), network.detect_keypoints(pair.driving)
        motion = network.motion(pair.source, *points)
    return CodebookPrediction(*network.animate(pair.source, *points, motion=motion), motion.deformation)


def settings(seed: int, **losses: float) -> TrainConfig:
    "One recipe for everybody."
    config = TrainConfig.guided().replace(losses=LOSSES.replace(**losses), seed=seed)
    return config.replace(minutes=0.0, steps=STEPS, batch_size=BATCH, learning_rate=2e-3, milestones=(), ema=0.99)


def train_estimator(pairs: FacePairs) -> Codebooks:
    "Detector and dense motion, taught by true flow and visibility."
    torch.manual_seed(0)
    network = Codebooks(FULL)
    alone = TalkingHead(network.detector, network.motion, OnlyWarped())
    config = settings(0, flow=20.0, visibility=2.0, guided_until=1.0, consistency=0.0)
    train_players([generator_player(alone, None, config.losses)], pairs, config)
    return network


def train_network(network: Codebooks, pairs: FacePairs, seed: int, weights: CodebookWeights):
    "The generator alone."
    config = settings(seed)
    terms = [*picture_terms(None, config.losses), *codebook_terms(network, None, config.losses, weights)]
    player = Player("generator", network.generator, terms, lambda pair, earlier: predict(network, pair))
    train_players([player], pairs, config)


@torch.no_grad()
def judge(network: Codebooks, judges: FacePairs) -> dict[str, list]:
    "One row per person: decibels of picture, hole and warped source, flow errors M⁰ … M⁴ in pixels, occlusion."
    network.eval()
    rows = {"psnr": [], "hole": [], "warp": [], "flow": [], "occlusion": []}
    decibels = lambda square: -10 * square.clamp(min=1e-6).log10().item()
    for pair in everybody(judges):
        made = predict(network, pair)
        square, hidden = (made.image - pair.driving).square(), 1 - pair.visible
        rows["psnr"].append(round(decibels(square.mean()), 4))
        rows["warp"].append(round(decibels((made.warped - pair.driving).square().mean()), 4))
        rows["hole"].append(round(decibels((square * hidden).sum() / (3 * hidden.sum()).clamp(min=1)), 4))
        flows = [made.coarse, *(made.motion.deformations or ())]
        rows["flow"].append([round(flow_error(f, pair.deformation, pair.visible).nanmean().item(), 5) for f in flows])
        rows["occlusion"].append(round(occlusion_scores(made.motion.occlusion, pair.visible)[:, 1].nanmean().item(), 5))
    return rows


def words(network: Codebooks, judges: FacePairs) -> dict[str, list]:
    "Of each table: the share of its codes that are in use, that one question hears, and that are dead."
    pairs = itertools.islice(everybody(judges), 8)
    share = lambda usage: [usage.perplexity_of_mean, usage.mean_perplexity, usage.dead]
    counts = count_codes(network.eval(), pairs).items()
    return {name: [round(number / len(usage.shares), 4) for number in share(usage)] for name, usage in counts}


def everybody(heads: FacePairs):
    "Each person in each frame once."
    frames = torch.arange(heads.images.shape[1])
    for person in range(len(heads.images)):
        who, slot = torch.full_like(frames, person), frames % len(heads.partners)
        source = (frames + heads.partners[slot]) % len(frames)
        images = [heads.images[who, frame].float() / 255 for frame in (source, frames)]
        yield Pair(*images, heads.flows[who, frames, slot].float(), heads.visible[who, frames, slot].float())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("names", nargs="*", choices=[[], *VARIANTS], help="only these variants")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir(exist_ok=True)
    drawn = {"size": SIZE, "batch_size": BATCH, "truth": True, "occluders": 0.0}
    pairs = FacePairs(300, 12, seed=5_000_000, cache=options.cache / "codebooks-train.pt", **drawn)
    judges = FacePairs(32, 12, seed=5_000_001, cache=options.cache / "codebooks-judges.pt", **drawn)
    known = FOLDER / "estimator.safetensors"
    if not known.exists():
        save_model(known, train_estimator(pairs).eval())
    estimator, path = load_model(known), FOLDER / "scores.json"
    table = json.loads(path.read_text()) if path.exists() else {}
    for seed in range(options.seeds):
        for name in options.names or VARIANTS:
            rows = table.setdefault(name, {"parameters": 0, "runs": []})
            if len(rows["runs"]) > seed:
                continue
            began, network = time.process_time(), build(name, seed, estimator)
            train_network(network, pairs, seed, UNPAID if name == "no side paths" else CodebookWeights())
            rows["runs"].append(judge(network, judges) | {"words": words(network, judges)})
            rows["parameters"] = count_parameters(network.generator)
            if seed == 0 and name in SHOWN:
                save_model(FOLDER / f"{name.replace(' ', '-')}.safetensors", network)
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(table, separators=(",", ":")).replace("]}", "]}\n") + "\n")
            scores = {key: values for key, values in rows["runs"][-1].items() if key != "words"}
            mean = {key: torch.tensor(values).nanmean(0).tolist() for key, values in scores.items()}
            print(f"{name} {seed}: {mean}, {time.process_time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
