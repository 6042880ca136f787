"""Measure the judges themselves: the numbers on the page `nbs/evaluation/30b_judges.ipynb`.

    python scripts/measure_judges.py drawn --data FOLDER    # 24 drawn people in 5 poses: detection, pose, identity
    python scripts/measure_judges.py video --data FOLDER     # a drawn video: blinks, mouth, what mp4 does to a judge
    python scripts/measure_judges.py real --data FOLDER     # the clips of FOLDER: detection, one person or two

FOLDER has weights/ (MediaPipe's face landmarker) and, for `real`, clips/. Needs `pip install mcnet[face,dlib]`.
Tables go to stdout, the same numbers to data/scores-judges.json, one entry per command.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch

from mcnet.evaluation.judges import (
    DlibJudge,
    MediapipeJudge,
    embedding_cosine,
    embedding_distance,
    head_angles,
    join_seen,
    judge_video,
    landmark_distance,
    openings,
    pose_error,
    shape_agreement,
)
from mcnet.evaluation.metrics import l1, psnr
from mcnet.heads import faces
from mcnet.media.frames import read_frames
from mcnet.media.recording import video_writer
from mcnet.media.video import read_video

DATA = Path(__file__).parents[1] / "data"
SIDE, PEOPLE, POSES, SEED = 256, 24, 5, 90_005


def line(true: torch.Tensor, measured: torch.Tensor) -> dict:
    "Correlation, slope and mean absolute difference of two columns without NaN."
    x, y = (column.double() - column.double().mean() for column in (true, measured))
    return {
        "r": (x @ y / (x @ x * (y @ y)).sqrt()).item(),
        "slope": (x @ y / (x @ x)).item(),
        "offset": (measured - true).double().mean().item(),
        "mean difference": (measured - true).abs().double().mean().item(),
    }


def raw_angles(transform: torch.Tensor) -> torch.Tensor:
    "As `head_angles`, but against the camera's axes: what one gets without thinking of the line of sight."
    ahead = transform.clone()
    ahead[:, :3, 3] = torch.tensor([0.0, 0.0, -1.0])
    return head_angles(ahead)


def drawn(tools: dict) -> dict:
    "Heads whose truth is known."
    generator = torch.Generator().manual_seed(SEED)
    people = faces.sample_people(PEOPLE, generator=generator)
    poses = faces.sample_poses(PEOPLE * POSES, generator=generator, occluders=0.0)
    who = torch.arange(PEOPLE).repeat_interleave(POSES)
    pictures = [faces.render(faces.combine(people[k], poses[who == k]), SIDE, truth=True) for k in range(PEOPLE)]
    image, landmarks = (torch.cat([getattr(p, name) for p in pictures]) for name in ("image", "landmarks"))
    seen = {name: tool(image) for name, tool in tools.items()}
    result = {"pictures": len(image), "found": {name: int(s.found.sum()) for name, s in seen.items()}}
    strict = DlibJudge()
    strict.threshold = 0.0
    result["found"]["dlib, threshold 0"] = int(strict(image).found.sum())
    turned = poses.pose[:, 0].abs().rad2deg()
    thirds = {"0-15": turned < 15, "15-30": (turned >= 15) & (turned < 30), "30-43": turned >= 30}
    result["found by yaw"] = {
        name: {k: [int((s.found & chosen).sum()), int(chosen.sum())] for k, chosen in thirds.items()}
        for name, s in seen.items()
    }
    result |= pose_scores(seen["mediapipe"], poses.pose.rad2deg(), who)
    result |= identity_scores(seen["dlib"], who)
    face = seen["dlib"].found
    result["dlib's landmarks from the truth (px)"] = landmark_distance(
        seen["dlib"].landmarks[face], landmarks[face]
    ).mean().item()
    result |= expression_scores(seen["mediapipe"].blendshapes, who)
    return result | noise_floor(tools, image)


def centred(rows: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
    "Rows minus the mean row of the same person: where a head's zero lies is nobody's fault."
    means = torch.zeros(PEOPLE, rows.shape[1]).index_reduce(0, who, rows, "mean", include_self=False)
    return rows - means[who]


def pose_scores(seen, true: torch.Tensor, who: torch.Tensor) -> dict:
    "Measured angles against true ones, raw and against the line of sight."
    ok, axes = seen.found, ("yaw", "pitch", "roll")
    angles, raw = head_angles(seen.transform[ok]), raw_angles(seen.transform[ok])
    mine, theirs = centred(true[ok], who[ok]), centred(angles, who[ok])
    return {
        "pose": {axis: line(true[ok, i], angles[:, i]) for i, axis in enumerate(axes)},
        "pose, each person's mean taken off": {axis: line(mine[:, i], theirs[:, i]) for i, axis in enumerate(axes)},
        "pose, camera's axes": {axis: line(true[ok, i], raw[:, i]) for i, axis in enumerate(axes)},
        "angles": torch.cat([true[ok], angles, raw], 1).mul(10).round().div(10).tolist(),  # true, measured, raw
    }


def identity_scores(seen, who: torch.Tensor) -> dict:
    "Distances of embeddings of one person in two poses, and of two people."
    ok = seen.found
    rows, names = seen.embedding[ok], who[ok]
    distance = torch.cdist(rows, rows)
    upper = torch.ones_like(distance).triu(1).bool()
    same = distance[(names[:, None] == names) & upper]
    other = distance[(names[:, None] != names) & upper]
    better = (same[:, None] < other).double().mean().item()
    cosine = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=-1)
    quantiles = torch.tensor([0.05, 0.5, 0.95])
    return {
        "AED-dlib": {
            "same person": same.quantile(quantiles).tolist(),
            "others": other.quantile(quantiles).tolist(),
            "same < other": better,
        },
        "CSIM-dlib": {
            "same person": cosine[(names[:, None] == names) & upper].mean().item(),
            "others": cosine[(names[:, None] != names) & upper].mean().item(),
        },
        "distances": {
            "same": torch.histc(same, 24, 0, 1.2).tolist(), "others": torch.histc(other, 24, 0, 1.2).tolist()
        },
    }


def expression_scores(shapes: torch.Tensor, who: torch.Tensor) -> dict:
    "How much unrelated faces agree: the level that means nothing."
    ok = shapes.isfinite().all(1)
    shapes, found = shapes[ok], {}
    for threshold in (0.1, 0.2, 0.3, 0.5):
        unrelated = shape_agreement(shapes, shapes.roll(len(shapes) // 2, 0), threshold=threshold).mean().item()
        still = shape_agreement(torch.zeros_like(shapes), shapes, threshold=threshold).mean().item()
        found[str(threshold)] = {"unrelated": unrelated, "no movement at all": still}
    return {"AUCON-blendshape": found}


def noise_floor(tools: dict, image: torch.Tensor) -> dict:
    "What each judge says of the same 40 pictures with invisible noise (one level of 255)."
    image = image[:40]
    seen = {name: tool(image) for name, tool in tools.items()}
    noisy = (image + torch.randn(image.shape, generator=torch.Generator().manual_seed(1)) / 255).clamp(0, 1)
    again = {name: tool(noisy) for name, tool in tools.items()}
    mean = lambda values: values[values.isfinite()].mean().item()
    m, n, d, e = seen["mediapipe"], again["mediapipe"], seen["dlib"], again["dlib"]
    return {
        "noise floor": {
            "AKD-mediapipe": mean(landmark_distance(n.landmarks, m.landmarks)),
            "AKD-dlib": mean(landmark_distance(e.landmarks, d.landmarks)),
            "AED-dlib": mean(embedding_distance(e.embedding, d.embedding)),
            "CSIM-dlib": mean(embedding_cosine(e.embedding, d.embedding)),
            "AUCON-blendshape": mean(shape_agreement(n.blendshapes, m.blendshapes)),
            "PRMSE-mediapipe": mean(pose_error(n.transform, m.transform)),
        }
    }


def video(tools: dict, frames: int = 75) -> dict:
    "A drawn video: its true blinks and mouth, and the same video through mp4."
    generator = torch.Generator().manual_seed(SEED)
    person = faces.sample_people(3, generator=generator)[2:3]
    track = faces.sample_track(frames, generator=generator)
    pictures = faces.render_clip(person, track, SIDE)
    seen = {name: tool(pictures) for name, tool in tools.items()}
    eyes = {name: openings(s.landmarks)["eyes"] for name, s in seen.items()}
    mouth = {name: openings(s.landmarks)["mouth"] for name, s in seen.items()}
    correlate = lambda a, b: line(a[b.isfinite()], b[b.isfinite()])["r"]
    result = {
        "eyes against true blink": {name: -correlate(track.blink.mean(1), value) for name, value in eyes.items()},
        "mouth against true jaw": {name: correlate(track.expression[:, 0], value) for name, value in mouth.items()},
        "mp4": {},
    }
    for quality in (10, 15, 25):  # 15 is `write_video`'s own; a larger number is a smaller file
        with tempfile.TemporaryDirectory() as folder:
            with video_writer(Path(folder) / "video.mp4", 25, quality=quality) as write:
                for picture in pictures:
                    write(picture)
            size = (Path(folder) / "video.mp4").stat().st_size
            back = read_video(Path(folder) / "video.mp4")[0].float() / 255
        row = {"kB": size // 1000, "L1": l1(back, pictures).mean().item(), "PSNR": psnr(back, pictures).mean().item()}
        for name, tool in tools.items():
            again = tool(back)
            row[f"AKD-{name}"] = landmark_distance(again.landmarks, seen[name].landmarks).nanmean().item()
            row[f"extra jitter, {name}"] = judge_video(again.landmarks, seen[name].landmarks)["extra jitter"]
            if name == "dlib":
                row["AED-dlib"] = embedding_distance(again.embedding, seen[name].embedding).nanmean().item()
        result["mp4"][str(quality)] = row
    return result


def real(tools: dict, folder: Path) -> dict:
    "Real clips: detection, and whether a face is nearer to itself than to others (no picture is kept)."
    videos = sorted((folder / "clips").glob("*.mp4"))[::4]
    seen, who = {name: [] for name in tools}, []
    for number, path in enumerate(videos):
        frames = torch.stack([frame for i, frame in enumerate(read_frames(path)) if i % 40 == 0][:3])
        who += [number] * len(frames)
        for name, tool in tools.items():
            seen[name].append(tool(frames))
    joined = {name: join_seen(parts) for name, parts in seen.items()}
    result = {"pictures": len(who), "clips": len(videos)}
    result["found"] = {name: int(s.found.sum()) for name, s in joined.items()}
    return result | identity_scores(joined["dlib"], torch.tensor(who))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["drawn", "video", "real"])
    parser.add_argument("--data", type=Path, required=True, help="folder with weights/ and clips/")
    wanted = parser.parse_args()
    tools = {"mediapipe": MediapipeJudge(wanted.data / "weights" / MediapipeJudge.file), "dlib": DlibJudge()}
    run = {"drawn": drawn, "video": video, "real": lambda tools: real(tools, wanted.data)}[wanted.what]
    result = run(tools)
    file = DATA / "scores-judges.json"
    table = json.loads(file.read_text()) if file.is_file() else {}
    table[wanted.what] = result
    rounded = json.loads(json.dumps(table), parse_float=lambda text: float(f"{float(text):.4g}"))
    file.write_text(json.dumps(rounded) + "\n")
    print(json.dumps({k: v for k, v in rounded[wanted.what].items() if k not in ("angles", "distances")}, indent=1))


if __name__ == "__main__":
    main()
