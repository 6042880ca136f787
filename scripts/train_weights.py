"""Train the weights that ship with the package: the recipes named in their model cards.

    python scripts/train_weights.py tiny-synthetic --out runs/tiny-synthetic --vgg FOLDER
    python scripts/train_weights.py tiny --out runs/tiny --vgg FOLDER --clips FOLDER
    python scripts/train_weights.py small --out runs/small --vgg FOLDER --clips FOLDER
    python scripts/train_weights.py codebooks-tiny --out runs/codebooks-1 --vgg FOLDER --clips FOLDER \
        --init mcnet/assets/tiny.safetensors --part generator --batch-size 8 --steps 1000 --warmup 0.05 \
        --focus 30 --perceptual 0 --close-up 0 --energy 0
    python scripts/train_weights.py codebooks-tiny --out runs/codebooks-2 --vgg FOLDER --clips FOLDER \
        --init runs/codebooks-1/weights.safetensors --batch-size 8 --steps 900 --rate 3e-4 \
        --focus 30 --perceptual 8 --close-up 6 --energy 40
    python scripts/train_weights.py codebooks-tiny --out runs/codebooks-3 --vgg FOLDER --clips FOLDER \
        --init runs/codebooks-2/weights.safetensors --batch-size 8 --steps 900 --rate 3e-4 --warmup 0.1 \
        --focus 60 --perceptual 8 --close-up 15 --energy 40
    python scripts/train_weights.py mcnet-partner --out runs/partner-1 --vgg FOLDER --clips FOLDER \
        --init runs/codebooks-1/weights.safetensors --part generator --batch-size 8 --steps 1700 --warmup 0.05 \
        --focus 30 --perceptual 0 --close-up 0 --energy 0
    python scripts/train_weights.py mcnet-partner --out runs/partner-2 --vgg FOLDER --clips FOLDER \
        --init runs/partner-1/weights.safetensors --batch-size 8 --steps 1485 --rate 3e-4 \
        --focus 30 --perceptual 8 --close-up 6 --energy 40
    python scripts/train_weights.py mcnet-partner --out runs/partner-3 --vgg FOLDER --clips FOLDER \
        --init runs/partner-2/weights.safetensors --batch-size 8 --steps 1485 --rate 3e-4 --warmup 0.1 \
        --focus 60 --perceptual 8 --close-up 15 --energy 40

    python scripts/train_weights.py small --out runs/small-long --vgg FOLDER --clips FOLDER \
        --init mcnet/assets/small.safetensors --batch-size 8 --rate 3e-4 --warmup 0.02 --l1 20 --focus 30 \
        --landmarks 15 --perceptual 8 --energy 40 --close-up 6 --people 200 --steps 15000 --milestones 30 \
        --leave-out grid_upload2 grid_upload3 lavse_SP01 lavse_SP05 latentsync_demo1 imtalker_driving_2

`--vgg` is the folder with vgg19_conv1_1_to_conv3_4_fp16.safetensors and vgg19_stats.json; `--clips` a folder of clips
(MANIFEST.json, or train/ and test/); eyes and mouth of real clips are found by MediaPipe, whose model must lie in the
`--vgg` folder, too. Where a MANIFEST_av.json lies beside the MANIFEST.json, its clips are used, too. Videos of people
named by `--leave-out` are not trained on: at `--milestones` moments of the run the averaged network is scored on
pairs of their frames, and the scores are kept in history.json. Or `--clips` is a file that `scripts/pack_frames.py`
made: then videos and MediaPipe are not needed. Heads are drawn on the GPU where there is one. A run that is found in
`--out` goes on. `--minutes` is measured on the clock; with `--steps` it is the steps that end the run.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from pack_frames import unpack

from mcnet.baseline.talking_head import OnlyWarped, TalkingHead, detect_both
from mcnet.codebooks.players import CodebookPrediction
from mcnet.codebooks.system import Codebooks, CodebooksConfig
from mcnet.core import Pair, Prediction, pick_device, seed_everything
from mcnet.data.pairs import ClipPairs, FramePairs, load_clip
from mcnet.evaluation.experiment import players_of
from mcnet.evaluation.judges import follow, openings
from mcnet.heads.faces import FacePairs
from mcnet.media.finders import MediapipeLandmarks
from mcnet.media.pictures import fit_square
from mcnet.memory.files import build, save_model
from mcnet.memory.network import MCNetConfig
from mcnet.training.batches import mix_samples
from mcnet.training.loop import train_players
from mcnet.training.perceptual import PerceptualLoss, VGGFeatures
from mcnet.training.recipes import TrainConfig
from mcnet.training.terms import LossWeights, Player, generator_player
from mcnet.weightfile import load_weights

VGG_FILE = "vgg19_conv1_1_to_conv3_4_fp16.safetensors"
FRAMES = 16  # of each drawn person
JUDGED = 40  # pairs of each person that is left out
REAL = {
    "licence": "research and education; rights in part of the training footage are unclear",
    "data": "106 real clips of 53 people and {people} drawn people",
}
NOTES = {
    "tiny-synthetic": {"licence": "Apache-2.0", "data": "{people} drawn people"},
    "tiny": REAL,
    "small": REAL,
    "codebooks-tiny": REAL,
    "mcnet-partner": REAL,
}
TINY = MCNetConfig.tiny()
CONFIGS = {  # else MCNet's tiny
    "small": MCNetConfig.small(),
    "codebooks-tiny": CodebooksConfig.tiny(),
    "mcnet-partner": TINY.replace(generator=TINY.generator.replace(channels=(28, 56, 112, 157))),  # as many parameters
}


def videos(folder: Path) -> list[tuple[Path, str]]:
    "Video and person of every training clip that the manifests of a folder name."
    manifests = [folder / "MANIFEST.json", folder / "MANIFEST_av.json"]
    entries = [entry for file in manifests if file.is_file() for entry in json.loads(file.read_text())["files"]]
    wanted = [entry for entry in entries if entry["kind"] in ("clip", "av") and entry["split"] == "train"]
    return [(folder / entry["file"], entry["identity"]) for entry in wanted]


class LeftOut:
    "Scores on people who are not trained on: decibels, and whether eyes and mouth change as they should."

    def __init__(self, clips: list[Path], size: int, landmarks, cache: Path):
        generator, self.landmarks = torch.Generator().manual_seed(0), landmarks
        parts = []
        for clip in clips:
            frames = load_clip(clip, size, cache=cache)
            parts.append(frames[torch.randint(len(frames), (2, JUDGED), generator=generator)])
        self.source, self.driving = (torch.cat(side).float() / 255 for side in zip(*parts))  # (N, 3, S, S)
        self.before, self.wanted = self.opened(self.source), self.opened(self.driving)

    def opened(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        "How far eyes and mouth are open, seen at 256 pixels."
        return openings(self.landmarks(F.interpolate(pictures, (256, 256), mode="bicubic").clamp(0, 1)))

    def __call__(self, model: torch.nn.Module) -> dict[str, float]:
        model.eval()
        pairs = zip(self.source.split(20), self.driving.split(20))
        painted = torch.cat([model(*pair).image for pair in pairs]).clamp(0, 1)
        decibels = lambda image: -10 * (image - self.driving).square().mean((1, 2, 3)).clamp(min=1e-6).log10().mean()
        opened = self.opened(painted)
        scores = {"psnr": decibels(painted).item(), "psnr of the copy": decibels(self.source).item()}
        change = lambda after, part: after[part] - self.before[part]
        return scores | {f"{part} follow": follow(change(opened, part), change(self.wanted, part)) for part in opened}


def training_pairs(options: argparse.Namespace, size: int):
    "Drawn heads with their truth; but for `tiny-synthetic` eleven of sixteen pairs come from real clips."
    batch_size, clips, cache = options.batch_size, options.clips, options.cache
    real = 0 if options.name == "tiny-synthetic" else round(batch_size * 11 / 16)
    heads = FacePairs(
        options.people, FRAMES, size, batch_size - real, truth=True, cache=cache / f"heads-{size}.pt",
        progress=lambda done, total: print(f"\rdrawing people {done}/{total}", end="", flush=True),
        device=pick_device("auto"),
    )
    heads.device = torch.device("cpu")  # drawn there, dealt here: batches are made ahead, beside the training
    if not real:
        return heads
    if clips.suffix == ".tar":
        frames, focus = unpack(clips)
        if frames[0].shape[-1] != size:
            frames = [torch.stack([fit_square(frame, size) for frame in video]) for video in frames]
        return mix_samples([FramePairs(frames, real, focus=focus), heads])
    chosen = [video for video, person in videos(clips) if person not in options.leave_out]
    with MediapipeLandmarks(options.vgg / MediapipeLandmarks.file) as landmarks:
        return mix_samples([ClipPairs(chosen, size, real, cache=cache / "clips", landmarks=landmarks), heads])


def warm_start(model: TalkingHead, path: Path):
    "Fill in what a file has. New residual blocks begin by changing nothing; other new parts start from scratch."
    tensors, _, _ = load_weights(path)
    mine = model.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in mine and tensor.shape == mine[name].shape}
    lacking = [name for name, _ in model.named_parameters() if name not in fitting]
    model.load_state_dict(fitting, strict=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in lacking and ".blocks." in name and ".conv2." in name:
                parameter.zero_()
    parts = sorted({".".join(name.split(".")[:3]) for name in lacking})
    print(f"{path}: {len(fitting)} of {len(tensors)} tensors; new: {', '.join(parts) or 'nothing'}", flush=True)


MOVES = ("equivariance", "jacobian", "distance", "determinant", "flow", "visibility")  # losses of detector and motion


def players(model: TalkingHead, part: str, perceptual: PerceptualLoss, losses: LossWeights) -> list[Player]:
    "What is trained: the whole network; its detector and motion alone; or its generator alone, which is faster, too."
    if part == "motion":
        return [generator_player(TalkingHead(model.detector, model.motion, OnlyWarped()), perceptual, losses)]
    if part == "all":
        return players_of(model, perceptual, losses)
    learners = players_of(model, perceptual, losses.replace(**dict.fromkeys(MOVES, 0.0)))
    learners[0].predict, learners[0].watch = lambda pair, earlier: predict_still(model, pair), None
    for still in (model.detector, model.motion):
        still.requires_grad_(False)
    return learners


def predict_still(model: TalkingHead, pair: Pair) -> Prediction | CodebookPrediction:
    "A forward pass whose keypoints and first flow do not learn."
    with torch.no_grad():
        model.detector.eval()
        model.motion.eval()
        points = detect_both(model.detector, pair.source, pair.driving)
        motion = model.motion(pair.source, *points)
    made = model.animate(pair.source, *points, motion=motion)
    return CodebookPrediction(*made, motion.deformation) if isinstance(model, Codebooks) else made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NOTES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vgg", type=Path, required=True)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--steps", type=int, default=0, help="instead of minutes")
    parser.add_argument("--leave-out", nargs="*", default=[], help="people who are scored on instead of trained on")
    parser.add_argument("--milestones", type=int, default=3, help="how often to score and to draw")
    parser.add_argument("--people", type=int, default=400, help="how many to draw")
    parser.add_argument("--size", type=int, help="side of the pictures in pixels; the network's own when not given")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--init", type=Path, help="weights to start from")
    parser.add_argument("--part", choices=("all", "motion", "generator"), default="all", help="what is trained")
    parser.add_argument("--landmarks", type=float, default=0.0, help="weight of lids and lips that come from elsewhere")
    parser.add_argument("--focus", type=float, default=15.0, help="weight of the loss around eyes and mouth")
    parser.add_argument("--perceptual", type=float, default=3.0, help="weight of the perceptual loss")
    parser.add_argument("--energy", type=float, default=20.0, help="weight of the loss against blur")
    parser.add_argument("--close-up", type=float, default=3.0, help="weight of the perceptual loss of eyes and mouth")
    parser.add_argument("--l1", type=float, default=20.0, help="weight of the L1 pyramid")
    parser.add_argument("--rate", type=float, default=8e-4, help="peak of the learning rate")
    parser.add_argument("--warmup", type=float, default=0.1, help="share of the run in which the rate rises")
    options = parser.parse_args()
    if options.name != "tiny-synthetic" and not options.clips:
        parser.error(f"{options.name} is trained on real clips, too: give --clips")

    options.cache.mkdir(parents=True, exist_ok=True)
    seed_everything(0)
    model = build(CONFIGS.get(options.name, TINY))
    if options.init:
        warm_start(model, options.init)
    pairs = training_pairs(options, options.size or model.config.image_size)
    vgg = VGGFeatures(options.vgg / VGG_FILE, taps=("relu1_1", "relu2_1", "relu3_1"))
    config = TrainConfig.guided().replace(
        minutes=0.0 if options.steps else options.minutes, steps=options.steps, batch_size=options.batch_size,
        learning_rate=options.rate, warmup=options.warmup,
        milestones=tuple(n / options.milestones for n in range(options.milestones + 1)),
        focus=options.focus, perceptual=options.perceptual, l1=options.l1, energy=options.energy,
        close_up=options.close_up, landmarks=options.landmarks, warped=5.0, jacobian=2.0, ema=0.998,
    )
    preview = next(iter(pairs))
    landmarks = MediapipeLandmarks(options.vgg / MediapipeLandmarks.file) if options.leave_out else None
    left_out = options.leave_out
    unseen = [video for video, person in videos(options.clips) if person in left_out] if left_out else []
    size = options.size or model.config.image_size
    score = LeftOut(unseen, size, landmarks, options.cache / "clips") if unseen else None
    notes = {key: text.format(people=options.people) for key, text in NOTES[options.name].items()}
    notes |= {"name": options.name, "recipe": config.recipe, "perceptual": vgg.name}
    learners = players(model, options.part, PerceptualLoss(vgg), config.losses)
    train_players(
        learners, pairs, config, out=options.out, preview=preview, score=score,
        save=lambda path, trained: save_model(path, model, **notes),
    )


if __name__ == "__main__":
    main()
