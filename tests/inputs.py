"Small files for the tests of what users hand in: pictures, films and weights, all made here."

import io
import struct

import torch
from PIL import Image

from mcnet.network import MCNet, MCNetConfig, save_model
from mcnet.video import write_video


def picture(width=70, height=90):
    "A Pillow picture with a smooth, asymmetric pattern: red grows to the right, green downwards, blue top left."
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    colours = torch.stack([x, y, (1 - x - y).clamp(0, 1)], dim=-1)
    return Image.fromarray((colours * 255).byte().numpy())


def film(path, frames=7, fps=25, width=64, height=64):
    "A video of a bright disc that goes to the right; the path is given back."
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    disc = [((x + 0.5 - t / frames) ** 2 + y**2 < 0.2).float() for t in range(frames)]
    write_video(path, torch.stack([torch.stack([d, 0.5 + 0.4 * x, 0.5 + 0.4 * y]) for d in disc]), fps)
    return path


def tiny_weights(path, seed=0):
    "Weights nobody trained, for the network of `MCNetConfig.tiny()`; the path is given back."
    torch.manual_seed(seed)
    save_model(path, MCNet(MCNetConfig.tiny()), licence="Apache-2.0", data="nothing")
    return path


def turned(path, out, matrix):
    "A copy of an mp4 whose track header says to turn it: nine numbers, as the QuickTime format defines them."
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", *matrix)
    out.write_bytes(content)
    return out


def as_bytes(image, form, **options):
    "A Pillow picture as the bytes of a file."
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
