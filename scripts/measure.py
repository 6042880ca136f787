"""Measure shipped weights: the numbers of the model cards.

    python scripts/measure.py synthetic tiny-synthetic     # 480 pairs of 24 people drawn with an unused seed
    python scripts/measure.py real tiny --data FOLDER      # data/pairs_real_test.csv
    python scripts/measure.py faces tiny --data FOLDER     # the same pairs, seen by face tools and a perceptual loss
    python scripts/measure.py detail tiny --data FOLDER    # the same pairs at 256 pixels, with and without --detail
    python scripts/measure.py cross tiny --data FOLDER     # 5 test stills x 5 test clips through `mcnet animate`
    python scripts/measure.py tables codebooks-tiny --data FOLDER   # who hears which code; is the flow mended?
    python scripts/measure.py beside codebooks-tiny --rivals tiny mcnet-partner=FILE --data FOLDER  # pair by pair

FOLDER has MANIFEST.json, clips/, stills/ and weights/. `real` needs `pip install mediapipe`, `faces` and `cross` also
`pip install 'mcnet[dlib]'`. Tables go to stdout, the same numbers to data/scores-KIND-NAME.json.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from run_codebooks import everybody

from mcnet.animation.animate import Animator
from mcnet.animation.detail import carry_detail, enlarge_to, lost_detail
from mcnet.codebooks import players
from mcnet.codebooks.system import Codebooks
from mcnet.core import Pair
from mcnet.data.pairs import ListedPairs, read_pair_list
from mcnet.evaluation.judges import DlibJudge, MediapipeJudge, embedding_cosine, follow, openings
from mcnet.evaluation.metrics import (
    blurred,
    bootstrap_mean,
    copy_source,
    motion_correlation,
    number_people,
    predicting,
    psnr,
    score_pairs,
    thirds,
)
from mcnet.evaluation.truth import flow_error
from mcnet.heads.faces import FacePairs
from mcnet.media.finders import MediapipeLandmarks
from mcnet.media.frames import read_frames, video_info
from mcnet.media.pictures import fit_square, read_image
from mcnet.memory.outcomes import with_memories
from mcnet.training.perceptual import PerceptualLoss, VGGFeatures

DATA = Path(__file__).parents[1] / "data"
VGG_FILE = "vgg19_conv1_1_to_conv3_4_fp16.safetensors"
SEED = 90_001  # of the people that no training has drawn
STILLS = 5
CLIPS = "fomm_10_0", "liveportrait_d18_0", "styletalk_KristiNoem_0", "dpe_d_0", "hdtf_RD_Radio2_000_0"


def score_all(model, pairs: list[Pair], people: list, motion: torch.Tensor | None) -> dict:
    "The network beside what knows less: copying, its own warp, that warp blurred, and a memory that nobody can ask."
    rivals = {
        "copy": copy_source,
        "warp": predicting(model, "warped"),
        "blurred warp": blurred(predicting(model, "warped")),
        "one answer for all": predicting(with_memories(model, lambda memory: memory.same_answer())),
        "network": predicting(model),
    }
    table = {}
    for name, predict in rivals.items():
        scores = score_pairs(predict, pairs, people, motion=motion)
        print(f"\n{name}\n{scores}")
        table[name] = scores.rows
    return table


def mouths(model, pairs: list[Pair], landmarks) -> dict:
    "Mouth opening of the prediction against the truth's, both seen by MediaPipe at 256 pixels."
    enlarge = lambda image: F.interpolate(image, (256, 256), mode="bicubic").clamp(0, 1)
    sides = {"source": [], "driving": [], "predicted": []}
    for source, driving, *_ in pairs:
        for name, image in zip(sides, (source, driving, predicting(model)(source, driving)), strict=True):
            sides[name].append(openings(landmarks(enlarge(image)))["mouth"])
    opening = torch.stack([torch.cat(side) for side in sides.values()])  # (3, N)
    found = opening.isfinite().all(0)
    source, driving, predicted = opening[:, found]
    correlate = lambda a, b: torch.corrcoef(torch.stack([a, b]))[0, 1].item()
    return {
        "pairs": len(found), "found": int(found.sum()), "correlation": correlate(predicted, driving),
        "of the change": correlate(predicted - source, driving - source), "of the copy": correlate(source, driving),
    }


def synthetic(model, options) -> dict:
    "People drawn with a seed that no training uses, turned by up to 43 degrees."
    heads = FacePairs(24, 20, model.config.image_size, 20, seed=SEED, occluders=0.0)
    pairs, people = [], []
    for person, frames in enumerate(heads.images.float() / 255):  # (20, 3, S, S)
        pairs.append(Pair(frames.roll(7, dims=0), frames))
        people += [person] * len(frames)
    table = score_all(model, pairs, people, None)
    if options.data:
        with MediapipeLandmarks(options.data / "weights" / MediapipeLandmarks.file) as landmarks:
            table["mouth opening (mediapipe)"] = mouths(model, pairs, landmarks)
    return table


def fixed_pairs(folder: Path, size: int, batch_size: int) -> tuple[list[Pair], list[str], torch.Tensor]:
    "The fixed pairs of people no training has seen, who they are, and how much moves (480 each)."
    path = DATA / "pairs_real_test.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    motion = torch.tensor([float(row["motion_percent"]) for row in rows])
    pairs = list(ListedPairs(read_pair_list(path), folder, size, batch_size))
    return pairs, [row["identity"] for row in rows], motion


def real(model, options) -> dict:
    "The fixed pairs; thirds by landmark motion."
    pairs, people, motion = fixed_pairs(options.data, model.config.image_size, 40)
    table = score_all(model, pairs, people, motion)
    with MediapipeLandmarks(options.data / "weights" / MediapipeLandmarks.file) as landmarks:
        table["mouth opening (mediapipe)"] = mouths(model, pairs, landmarks)
    return table


@torch.inference_mode()
def faces(model, options) -> dict:
    "Feature distance, identity, and whether mouth and eyes follow, by two tools; of all the fixed pairs and of thirds."
    pairs, _, motion = fixed_pairs(options.data, model.config.image_size, 1)
    groups = thirds(motion)
    warped = predicting(model, "warped")
    rivals = {"copy": copy_source, "warp": warped, "blurred warp": blurred(warped), "network": predicting(model)}
    pictures = {name: torch.cat([rival(pair.source, pair.driving) for pair in pairs]) for name, rival in rivals.items()}
    truth = torch.cat([pair.driving for pair in pairs])
    models = options.data / "weights"
    loss = PerceptualLoss(VGGFeatures(models / VGG_FILE, taps=("relu1_1", "relu2_1", "relu3_1")))
    table = {name: {group: {} for group in groups} for name in rivals}
    dlib = DlibJudge()
    with MediapipeJudge(models / MediapipeJudge.file) as mediapipe:
        judges = {"mediapipe": mediapipe, "dlib": dlib}
        wanted = {tool: openings(judge(truth).landmarks) for tool, judge in judges.items()}
        who = dlib(pictures["copy"]).embedding
        for name, answers in pictures.items():
            far = torch.tensor([loss(a[None], t[None]).item() for a, t in zip(answers, truth, strict=True)])
            seen = {tool: judge(answers) for tool, judge in judges.items()}
            alike = embedding_cosine(seen["dlib"].embedding, who)
            open_by = {tool: openings(found.landmarks) for tool, found in seen.items()}
            for group, chosen in groups.items():
                row, chosen = table[name][group], torch.tensor(chosen)
                row["feature distance"], row["identity"] = far[chosen].mean().item(), alike[chosen].nanmean().item()
                for tool, opening in open_by.items():
                    follows = {part: follow(opening[part][chosen], wanted[tool][part][chosen]) for part in opening}
                    row |= {f"{part}, {tool}": value for part, value in follows.items()}
                    row[f"faces, {tool}"] = int(opening["mouth"][chosen].isfinite().sum())
                print(name, group, row)
    return table


@torch.inference_mode()
def detail(model, options) -> dict:
    "The fixed pairs at 256 pixels: predictions enlarged, with the source's fine detail, and the best one can do."
    pairs, people, motion = fixed_pairs(options.data, 256, 16)
    size = model.config.image_size
    predict = lambda source, driving: model(fit_square(source, size), fit_square(driving, size))
    rivals = {
        "copy": copy_source,
        "enlarged": lambda *pair: enlarge_to(predict(*pair).image, 256),
        "with detail": lambda *pair: carry_detail(lost_detail(pair[0], size), predict(*pair)),
        "truth, shrunk and enlarged": lambda source, driving: enlarge_to(fit_square(driving, size), 256),
    }
    table = {}
    for name, rival in rivals.items():
        scores = score_pairs(rival, pairs, people, motion=motion)
        print(f"\n{name}\n{scores}")
        table[name] = scores.rows
    return table


def cross(model, options) -> dict:
    "Other people's portraits driven by test clips, through the command line."
    files = json.loads((options.data / "MANIFEST.json").read_text())["files"]
    stills = [f["file"] for f in files if f["kind"] == "still" and f["split"] == "test"][:STILLS]
    table, dlib = [], DlibJudge()
    model_file = options.data / "weights" / MediapipeLandmarks.file
    with MediapipeLandmarks(model_file) as landmarks, tempfile.TemporaryDirectory() as folder:
        for clip in CLIPS:
            driving = options.data / "clips" / f"{clip}.mp4"
            wanted, info = landmarks(torch.stack(list(read_frames(driving))).float() / 255), video_info(driving)
            for still in stills:
                out = (options.keep or Path(folder)) / f"{Path(still).stem}-{clip}.mp4"
                command = [Path(sys.executable).with_name("mcnet"), "animate", "--source", options.data / still]
                command += ["--driving", driving, "--out", out, "--weights", options.weights or options.name]
                subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
                frames, made = torch.stack(list(read_frames(out))).float() / 255, video_info(out)
                enlarged = F.interpolate(frames, size=(256, 256), mode="bicubic").clamp(0, 1)
                who = fit_square(read_image(options.data / still), 256)
                alike = embedding_cosine(dlib(enlarged[::20]).embedding, dlib(who[None]).embedding)
                row = {
                    "still": Path(still).name, "clip": clip, "frames": len(frames), "frames wanted": len(wanted),
                    "rate kept": made.fps == info.fps, "correlation": motion_correlation(landmarks(enlarged), wanted),
                    "identity": alike.nanmean().item(),
                }
                print(row, flush=True)
                table.append(row)
    median = torch.tensor([row["correlation"] for row in table]).nanmedian().item()
    print(f"median correlation of motion: {median:.3f}")
    return {"median correlation": median, "results": table}


def beside(model, options) -> dict:
    "How much better the network is than others, in decibels: differences of the fixed pairs, intervals over people."
    pairs, people, motion = fixed_pairs(options.data, model.config.image_size, 40)
    groups, who = thirds(motion), number_people(people, len(people))
    decibels = lambda network: torch.cat([psnr(predicting(network)(*pair[:2]), pair.driving) for pair in pairs])
    ours, table = decibels(model), {}
    for rival in options.rivals:
        name, _, path = rival.partition("=")
        apart = ours - decibels(Animator.from_pretrained(path or name, device="cpu").network)
        table[name] = {group: bootstrap_mean(apart[chosen], who[chosen]) for group, chosen in groups.items()}
        print(name, {group: [round(value, 3) for value in row] for group, row in table[name].items()})
    return table


@torch.no_grad()
def tables(model, options) -> dict:
    "Both tables of codes on the fixed pairs, and the error of the flow before and after each scale on drawn people."
    pairs, _, _ = fixed_pairs(options.data, model.config.image_size, 20)
    usage = {name: usage._asdict() for name, usage in players.count_codes(model.eval(), pairs).items()}
    for name, counted in usage.items():
        counted["codes"] = len(counted.pop("shares"))
        print(name, counted)
    heads, errors = FacePairs(24, 20, model.config.image_size, truth=True, occluders=0.0, seed=SEED), []
    for pair in everybody(heads):  # person by person
        made = players.predict(model, pair)
        flows = [made.coarse, *(made.motion.deformations or ())]
        errors.append([flow_error(flow, pair.deformation, pair.visible).nanmean().item() for flow in flows])
    errors, people = torch.tensor(errors), torch.arange(len(errors))
    mended = bootstrap_mean(errors[:, -1] - errors[:, 0], people)
    print("flow", errors.mean(0).tolist(), "last - first", mended)
    return {"usage": usage, "flow": errors.mean(0).tolist(), "flow, last less first": mended, "people": len(people)}


def main():
    kinds = {kind.__name__: kind for kind in (synthetic, real, faces, detail, cross, tables, beside)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("name", help="registered name; also names the result's file")
    parser.add_argument("--weights", help="path of other weights to measure under this name")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rivals", nargs="*", default=[], help="NAME or NAME=FILE of other weights, for `beside`")
    parser.add_argument("--keep", type=Path, help="folder for the videos of `cross`")
    options = parser.parse_args()
    if options.kind != "synthetic" and not options.data:
        parser.error("give --data, the folder with MANIFEST.json, clips/ and weights/")
    if options.kind == "beside" and not options.rivals:
        parser.error("give --rivals, the weights to be compared with")
    model = Animator.from_pretrained(options.weights or options.name, device="cpu").network
    if options.kind == "tables" and not isinstance(model, Codebooks):
        parser.error(f"{options.name} has no tables of codes; name a network with codebooks")
    table = kinds[options.kind](model, options)
    (DATA / f"scores-{options.kind}-{options.name}.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
