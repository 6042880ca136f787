"""Pack a few frames of every training clip into one small file, for a machine that has neither the clips nor MediaPipe.

    python scripts/pack_frames.py CLIPS frames.tar --models FOLDER            # at most 14 MB, squares of 128 pixels
    python scripts/pack_frames.py CLIPS frames.tar --models FOLDER --megabytes 20 --size 256

CLIPS is a folder of clips in any layout that mcnet knows; FOLDER holds MediaPipe's face_landmarker model, which finds
the eyes and mouths, so that the training there can look at them twice. The file is a shard as webdataset and
`mcnet.data.pairs.ShardPairs` know it (000000.json, 000000.000.webp …) with one more entry for each clip:
000000.focus.npy. `scripts/train_weights.py --clips frames.tar` trains from it; so does `mcnet train --data frames.tar`,
without the eyes.
"""

import argparse
import io
import json
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mcnet.core import UserError
from mcnet.data.glance import motion_signature
from mcnet.data.layouts import ClipFile, find_clips, shard_index
from mcnet.data.pairs import find_focus, load_clip
from mcnet.data.shards import spread_frames
from mcnet.doors import atomic_path
from mcnet.media.finders import MediapipeLandmarks

QUALITY = 90  # of webp: about 41 dB and 3 kB a frame at 128 pixels
HEADER = 1100  # bytes that a tar file adds to an entry: its header, and what fills up its last block, on average


def as_webp(frame: torch.Tensor) -> bytes:
    "A (3, S, S) uint8 frame as a file."
    file = io.BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(file, "webp", quality=QUALITY, method=6)
    return file.getvalue()


def frames_for(clips: list[ClipFile], size: int, megabytes: float, cache: Path) -> int:
    "How many frames of each clip fit: measured on every tenth clip."
    seen = [load_clip(clip.path, size, cache=cache) for clip in clips[::10]]
    bytes_each = np.mean([len(as_webp(film[len(film) // 2])) + HEADER for film in seen])
    return max(2, int(megabytes * 1e6 / bytes_each / len(clips)))


def add(tar: tarfile.TarFile, name: str, content: bytes):
    "One entry."
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def pack(clips: list[ClipFile], out: Path, size: int, megabytes: float, *, landmarks: Callable, cache: Path) -> int:
    "Write the shard; the number of frames in it. A clip that cannot be read is left out and named."
    count, written = frames_for(clips, size, megabytes, cache), 0
    with atomic_path(out) as temporary, tarfile.open(temporary, "w") as tar:
        for number, clip in enumerate(clips):
            try:
                film = load_clip(clip.path, size, cache=cache)
                focus = find_focus(clip.path, landmarks, cache=cache)
            except UserError as error:
                print(f"left out: {error}", flush=True)
                continue
            chosen = spread_frames(motion_signature(film), count)
            about = {"person": clip.person, "clip": clip.path.name, "frames": chosen}
            add(tar, f"{number:06}.json", json.dumps(about).encode())
            points = io.BytesIO()
            np.save(points, focus[chosen].half().numpy())
            add(tar, f"{number:06}.focus.npy", points.getvalue())
            for place, frame in enumerate(film[chosen]):
                add(tar, f"{number:06}.{place:03}.webp", as_webp(frame))
            written += len(chosen)
            print(f"\r{number + 1}/{len(clips)} clips, {written} frames", end="", flush=True)
    print(f"\n{out}: {out.stat().st_size / 1e6:.1f} MB")
    return written


def unpack(path: Path) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    "Decode once: for each clip its frames (T, 3, S, S) uint8, and points on eyes and mouth (T, 32, 2)."
    content, clips = path.read_bytes(), shard_index(path).values()
    part = lambda clip, name: io.BytesIO(content[clip[name][0] :][: clip[name][1]])

    def decode(clip: dict) -> torch.Tensor:
        names = sorted(name for name in clip if name.endswith(".webp"))
        pictures = np.stack([np.asarray(Image.open(part(clip, name)).convert("RGB")) for name in names])
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()

    with ThreadPoolExecutor() as pool:
        frames = list(pool.map(decode, clips))
    return frames, [torch.from_numpy(np.load(part(clip, "focus.npy"))).float() for clip in clips]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--megabytes", type=float, default=14)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache/clips"))
    options = parser.parse_args()
    with MediapipeLandmarks(options.models / MediapipeLandmarks.file) as landmarks:
        clips = find_clips(options.clips)
        pack(clips, options.out, options.size, options.megabytes, landmarks=landmarks, cache=options.cache)


if __name__ == "__main__":
    main()
