"""Make the README's picture and the site's, docs/images/demo.png and moving.webp, from the video of `mcnet demo`.

make picture

moving.webp loops; moving.png is the still for readers who asked their system for less motion.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from mcnet.media.pictures import to_bytes, write_image
from mcnet.media.video import read_video
from mcnet.plots import contact_sheet

MOMENTS, SIDE, LOOP_SIDE, EVERY = 5, 128, 192, 2
IMAGES = Path(__file__).resolve().parent / "images"


def loop(video):
    "A picture that moves: performance, portrait, result, there and back."
    small = F.interpolate(video[::EVERY] / 255, size=(LOOP_SIDE, 3 * LOOP_SIDE), mode="area")
    source, performance, result = small.split(LOOP_SIDE, dim=-1)
    frames = [
        Image.fromarray(to_bytes(f).permute(1, 2, 0).numpy()) for f in torch.cat([performance, source, result], -1)
    ]
    rest = frames[1:] + frames[-2:0:-1]
    frames[0].save(IMAGES / "moving.webp", save_all=True, append_images=rest, duration=40 * EVERY, loop=0, quality=60)
    frames[len(frames) // 2].save(IMAGES / "moving.png", optimize=True)


def main():
    video = read_video(sys.argv[1])[0]  # (T, 3, S, 3 S): source | performance | result
    moments = video[torch.linspace(len(video) // 12, len(video) * 11 // 12, MOMENTS).long()] / 255
    small = F.interpolate(moments, size=(SIDE, 3 * SIDE), mode="area")
    source, performance, result = small.split(SIDE, dim=-1)
    blank = torch.ones_like(source[:1])
    sheet = contact_sheet(torch.cat([blank, performance, source[:1], result]), MOMENTS + 1)
    IMAGES.mkdir(exist_ok=True)
    write_image(IMAGES / "demo.png", sheet)
    loop(video)
    print(", ".join(f"{path.name}: {path.stat().st_size // 1000} kB" for path in sorted(IMAGES.iterdir())))


if __name__ == "__main__":
    main()
