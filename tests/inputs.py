"Small files for the tests of what users hand in: pictures, videos and weights, all made here."

import io
import struct
from fractions import Fraction

import av
import numpy as np
import torch
from PIL import Image

from mcnet.media.video import write_video
from mcnet.memory.files import build, save_model
from mcnet.memory.network import MCNet, MCNetConfig
from mcnet.memory.official import to_state_dicts


def picture(width=70, height=90):
    "A Pillow picture with a smooth, asymmetric pattern: red grows to the right, green downwards, blue top left."
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    colours = torch.stack([x, y, (1 - x - y).clamp(0, 1)], dim=-1)
    return Image.fromarray((colours * 255).byte().numpy())


def video_file(path, frames=7, fps=25, width=64, height=64):
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


def small_release():
    "A very small network of the authors' kind: its config, and the state dicts of their checkpoint."
    config, sizes = MCNetConfig.release(), {"width": 8, "cap": 16, "blocks": 2}
    config = config.replace(
        keypoints=config.keypoints.replace(**sizes),
        motion=config.motion.replace(**sizes),
        generator=config.generator.replace(channels=(2, 4, 8, 16)),
        memory=config.memory.replace(channels=16, height=4, width=4),
    )
    return config, dict(zip(("generator", "kp_detector"), to_state_dicts(build(config)), strict=True))


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


# ---- videos of any make: what PyAV can be talked into


def numbered(number, width=64, height=48):
    "An (H, W, 3) array of smooth colours, with its number as eight black and white bars in the upper half."
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width])[:, None, None]
    colours = np.stack([0.2 + 0.6 * x, 0.2 + 0.6 * y, 0.6 - 0.4 * x], axis=-1)
    bars = (number >> (7 - np.arange(width) * 8 // width)) & 1
    colours[: height // 2] = bars[None, :, None]
    return (colours * 255).round().astype(np.uint8)


def number_of(frame):
    "Read the bars of `numbered` back from a (3, H, W) frame."
    frame = frame.float() / (255 if frame.dtype == torch.uint8 else 1)
    height, width = frame.shape[1:]
    columns = [(2 * bit + 1) * width // 16 for bit in range(8)]
    bits = [frame[:, height // 8 : 3 * height // 8, column - 1 : column + 2].mean() > 0.5 for column in columns]
    return sum(bool(bit) << (7 - place) for place, bit in enumerate(bits))


def ground(frame):
    "The colours under the bars, (3, H / 2, W) in [0, 1]."
    return (frame.float() / (255 if frame.dtype == torch.uint8 else 1))[:, frame.shape[1] // 2 :]


MATRICES = {601: (0.299, 0.114, 5), 709: (0.2126, 0.0722, 1), 2020: (0.2627, 0.0593, 9)}  # red, blue, number in headers


def yuv_frame(pixels, matrix=601, full=False, tagged=True):
    "An (H, W, 3) array as a yuv444p frame, by the formula of the standards."
    red, blue, number = MATRICES[matrix]
    r, g, b = np.moveaxis(pixels / 255, -1, 0)
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = [(b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)]
    low, light, colour = (0, 255, 255) if full else (16, 219, 224)
    planes = np.stack([low + light * luma, *(128 + colour * c for c in chroma)]).round().clip(0, 255)
    frame = av.VideoFrame.from_ndarray(planes.astype(np.uint8), format="yuv444p")
    if tagged:
        frame.colorspace, frame.color_range = number, 2 if full else 1
    return frame


def record(path, frames, codec="libx264", fmt="yuv420p", fps=25, *, ticks=None, base=None, options=None, **header):
    "Write frames (arrays or PyAV's) as they are; `ticks` are their time stamps, `header` what the codec is told."
    flags = header.pop("flags", {})
    with av.open(str(path), "w", options=flags) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.pix_fmt = fmt
        if base:
            stream.codec_context.time_base = base
        for name, value in header.items():
            setattr(stream.codec_context, name, value)
        for n, frame in enumerate(frames):
            if not isinstance(frame, av.VideoFrame):
                frame = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[-1] == 4 else "rgb24")
            if n == 0:
                stream.width, stream.height = frame.width, frame.height
            frame.pts, frame.time_base = ticks[n] if ticks else n, base or 1 / Fraction(fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def flash_and_beep(path, *, sound_from=0.0, picture_from=0.0, sound="aac", times=None, seconds=4, flash=50):
    """A black video with one white frame and a beep at the same moment. The sound (or the picture) may begin later than
    the file; `times` are the frames' seconds where they are not 25 a second."""
    times = times or [Fraction(n, 25) for n in range(25 * seconds)]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx-vp9" if str(path).endswith(".webm") else "libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        packets = []
        for n, second in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 255 * (n == flash), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * (second + Fraction(picture_from))), Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode()
        if sound:
            track, rate = container.add_stream(sound, rate=48000, layout="mono"), 48000
            at = np.arange(int(sound_from * rate), seconds * rate) / rate
            since = at - float(times[flash]) - picture_from
            wave = np.where((since >= 0) & (since < 0.04), np.sin(2 * np.pi * 1000 * since), 0).astype(np.float32)
            for start in range(0, len(wave), 960):
                piece = np.ascontiguousarray(wave[None, start : start + 960])
                frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = int(sound_from * rate) + start
                packets += track.encode(frame)
            packets += track.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def find_flash_and_beep(path):
    "Seconds after the first frame of the white frame, of the beep (None without sound), and of the end of the sound."
    start = flash = beep = end = None
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            start = frame.time if start is None else start
            if frame.to_ndarray(format="gray").mean() > 128:
                flash = frame.time - start
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[0]) if container.streams.audio else ():
            values = np.abs(frame.to_ndarray().astype(float)) / (32768 if "s16" in frame.format.name else 1)
            values = values[0] if frame.format.is_planar else values.reshape(-1, len(frame.layout.channels))[:, 0]
            if beep is None and values.max() > 0.2:
                beep = frame.time - start + np.argmax(values > 0.2) / frame.sample_rate
            end = frame.time - start + len(values) / frame.sample_rate
    return flash, beep, end


# ---- colour profiles

PRIMARIES = {  # the colours of red, green and blue light, as CIE xy
    "sRGB": [(0.64, 0.33), (0.3, 0.6), (0.15, 0.06)],
    "Display P3": [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)],
    "Adobe RGB": [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)],
}
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_xyz(name):
    "The (3, 3) matrix from linear RGB to XYZ under D50, as profiles want it."
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in PRIMARIES[name]]).T
    d65, d50 = np.array([0.95047, 1, 1.08883]), np.array([0.9642, 1, 0.8249])
    matrix = columns * np.linalg.solve(columns, d65)
    return np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ d50) / (BRADFORD @ d65)) @ BRADFORD @ matrix


def profile(name, gamma=2.2):
    "An ICC profile: header, table of contents, description, white, three colours, one curve for the three of them."
    def number(value):
        return struct.pack(">i", round(value * 65536))

    text = name.encode() + b"\0"
    parts = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(79)}
    parts[b"cprt"] = b"text" + bytes(4) + b"none\0"
    parts[b"wtpt"] = b"XYZ " + bytes(4) + b"".join(map(number, (0.9642, 1, 0.8249)))
    for letter, column in zip("rgb", to_xyz(name).T):
        parts[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + b"".join(map(number, column))
        parts[f"{letter}TRC".encode()] = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    table, body, place = b"", b"", 128 + 4 + 12 * len(parts)
    for key, part in parts.items():
        part += bytes(-len(part) % 4)
        table, body = table + key + struct.pack(">II", place + len(body), len(part)), body + part
    header = bytes(8) + b"\2\x40" + bytes(2) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += b"".join(map(number, (0.9642, 1, 0.8249))) + bytes(48)
    whole = header + struct.pack(">I", len(parts)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]
