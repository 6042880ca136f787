"""Write data/pairs_real_test.csv: 480 (source, driving) frame pairs of the 16 test clips, with motion terciles.

    python scripts/make_pairs.py FOLDER            # the folder with MANIFEST.json, clips/ and weights/

30 pairs a clip, frames drawn uniformly with seed 2023, i != j. Motion is the mean displacement of MediaPipe's 478
landmarks in per cent of the picture's width; the terciles are over all 480 pairs. Needs `pip install mediapipe`.
"""

import csv
import json
import random
import sys
from pathlib import Path

import av
import mediapipe
import numpy as np

PER_CLIP, SEED = 30, 2023


def open_landmarker(model: Path):
    "A still-picture face landmarker (478 points)."
    vision = mediapipe.tasks.vision
    options = vision.FaceLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(model)),
        running_mode=vision.RunningMode.IMAGE,
        min_face_detection_confidence=0.2,
    )
    return vision.FaceLandmarker.create_from_options(options)


def landmarks(landmarker, frame: np.ndarray) -> np.ndarray | None:
    "(478, 2) in [0, 1], or None where no face is found."
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
    faces = landmarker.detect(picture).face_landmarks
    return np.array([[p.x, p.y] for p in faces[0]]) if faces else None


def read_clip(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def main(folder: Path, out: Path):
    files = json.loads((folder / "MANIFEST.json").read_text())["files"]
    clips = sorted((f for f in files if f["kind"] == "clip" and f.get("split") == "test"), key=lambda f: f["file"])
    random_state = random.Random(SEED)
    rows = []
    with open_landmarker(folder / "weights" / "face_landmarker_v2_with_blendshapes.task") as landmarker:
        for clip in clips:
            frames = read_clip(folder / clip["file"])
            found = {}
            while sum(row[0] == clip["file"] for row in rows) < PER_CLIP:
                i, j = random_state.sample(range(len(frames)), 2)
                for k in (i, j):
                    if k not in found:
                        found[k] = landmarks(landmarker, frames[k])
                if found[i] is not None and found[j] is not None:
                    motion = 100 * np.linalg.norm(found[i] - found[j], axis=1).mean()
                    rows.append((clip["file"], clip["identity"], i, j, motion))
    low, high = np.quantile([row[-1] for row in rows], [1 / 3, 2 / 3])
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "identity", "i", "j", "motion_percent", "tercile"])
        for clip, identity, i, j, motion in rows:
            writer.writerow([clip, identity, i, j, f"{motion:.3f}", 1 + int(motion > low) + int(motion > high)])
    print(f"{len(rows)} pairs of {len(clips)} clips; motion terciles at {low:.2f} % and {high:.2f} %")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(__file__).parents[1] / "data" / "pairs_real_test.csv")
