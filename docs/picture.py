"""Draw the README's picture, docs/images/demo.png, from the film that `mcnet demo` makes.

make picture
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from mcnet.media.pictures import write_image
from mcnet.media.video import read_video
from mcnet.plots import contact_sheet

MOMENTS, SIDE = 5, 128


def main():
    film = read_video(sys.argv[1])[0]  # (T, 3, S, 3 S): source | performance | result
    moments = film[torch.linspace(len(film) // 12, len(film) * 11 // 12, MOMENTS).long()] / 255
    small = F.interpolate(moments, size=(SIDE, 3 * SIDE), mode="area")
    source, performance, result = small.split(SIDE, dim=-1)
    blank = torch.ones_like(source[:1])
    sheet = contact_sheet(torch.cat([blank, performance, source[:1], result]), MOMENTS + 1)
    target = Path(__file__).resolve().parent / "images" / "demo.png"
    target.parent.mkdir(exist_ok=True)
    write_image(target, sheet)
    print(f"{target.name}: {target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
