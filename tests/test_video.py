"Videos and pictures of every make: each gives the right frames at the right time, or one sentence that says why not."

import gc
import importlib.util
import io
import json
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from inputs import (
    MATRICES,
    as_bytes,
    find_flash_and_beep,
    flash_and_beep,
    ground,
    number_of,
    numbered,
    profile,
    record,
    to_xyz,
    turned,
    video_file,
    yuv_frame,
)
from PIL import Image, ImageFile, features

from mcnet.core import Notice, UserError
from mcnet.media.frames import find_pace, frame_times, read_frames, video_info
from mcnet.media.pictures import read_image, write_image
from mcnet.media.recording import video_writer
from mcnet.media.video import open_video, read_video, video_sheet, write_video

FIRST, COUNT = 3, 12
FRAMES = [numbered(FIRST + n) for n in range(COUNT)]
PICTURES = [Image.fromarray(frame) for frame in FRAMES]
TRUTH = torch.from_numpy(np.stack(FRAMES)).permute(0, 3, 1, 2)
UNEVEN = [0, 40, 80, 200, 240, 300, 340, 400, 410, 450, 500, 600]  # ms


def check(video, numbers=range(COUNT), fps=25, colour=4.0):
    "Read a video: these frames, this rate, these colours (mean error of 255); frames and video are given back."
    video = open_video(video)
    frames = list(video.read())
    assert [number_of(frame) - FIRST for frame in frames] == list(numbers)
    assert video.fps == fps
    assert video.count == len(frames) or video.count == 0
    truth = torch.from_numpy(numbered(FIRST, *reversed(frames[0].shape[1:]))).permute(2, 0, 1)
    assert (ground(frames[0]) - ground(truth)).abs().mean() * 255 < colour
    if not video.once:
        assert torch.equal(next(video.read()), frames[0])  # from the start again
    return frames, video


# ---- containers and codecs

FILES = {
    "plain.mp4": {},
    "plain.mov": {},
    "count-not-in-header.mkv": {},
    "count-not-in-header.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx", "options": {"b": "2M"}},
    "old.avi": {"codec": "mpeg4"},
    "old-b-frames.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "bare.h264": {},
    "broadcast.ts": {},
    "windows.wmv": {"codec": "wmv2"},
    "flash.flv": {},
    "disc.mpg": {"codec": "mpeg2video"},
    "fragments.mp4": {"flags": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "ten-bits.mp4": {"fmt": "yuv420p10le"},
    "twelve-bits.mp4": {"codec": "libx265", "fmt": "yuv444p12le", "options": {"x265-params": "log-level=none"}},
    "sixteen-bits.mkv": {"codec": "ffv1", "fmt": "gbrp16le"},
    "interlaced.mp4": {"options": {"flags": "+ildct+ilme", "x264-params": "tff=1"}},
    "prores.mov": {"codec": "prores_ks", "fmt": "yuv422p10le"},
    "motion-jpeg.avi": {"codec": "mjpeg", "fmt": "yuvj420p"},
}


@pytest.mark.parametrize("name", FILES)
def test_every_make_of_file(tmp_path, name):
    check(record(tmp_path / name, FRAMES, **FILES[name]))


@pytest.mark.parametrize("name", ["odd.mkv", "odd.mp4"])
def test_odd_sides(tmp_path, name):
    codec, fmt = ("ffv1", "bgr0") if name == "odd.mkv" else ("libx264", "yuv444p")
    frames, _ = check(record(tmp_path / name, [numbered(FIRST + n, 65, 47) for n in range(3)], codec, fmt), range(3))
    assert frames[0].shape == (3, 47, 65)


def test_grey_video(tmp_path):
    frames, _ = check(record(tmp_path / "grey.mkv", FRAMES, "ffv1", "gray"), colour=255)
    assert (frames[0][0] == frames[0][1]).all() and (frames[0][0] == frames[0][2]).all()
    truth = torch.tensor([0.299, 0.587, 0.114]) @ ground(TRUTH[0]).flatten(1)
    assert (ground(frames[0])[0].flatten() - truth).abs().mean() * 255 < 2


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("size", [(64, 48), (1280, 720)])
def test_colours_by_the_header(tmp_path, matrix, full, size):
    "BT.601, BT.709, BT.2020, limited or full range: made by the standards' formulas, every pixel within 3 of 255."
    pixels = numbered(FIRST, *size)
    header = {"colorspace": MATRICES[matrix][2], "color_range": 2 if full else 1}
    options = {"crf": "0", "preset": "ultrafast"}
    record(tmp_path / "c.mp4", [yuv_frame(pixels, matrix, full)], fmt="yuv444p", options=options, **header)
    error = (ground(next(read_frames(tmp_path / "c.mp4"))) - ground(torch.from_numpy(pixels).permute(2, 0, 1))).abs()
    assert error.max() * 255 <= 3


@pytest.mark.parametrize("size, matrix", [((64, 48), 601), ((1280, 720), 709)])
def test_colours_without_a_header(tmp_path, size, matrix):
    "A video that names no matrix: BT.601 where it is small, BT.709 where it is HD, as players do."
    pixels = numbered(FIRST, *size)
    options = {"crf": "0", "preset": "ultrafast"}
    record(tmp_path / "c.mp4", [yuv_frame(pixels, matrix, tagged=False)], fmt="yuv444p", options=options)
    error = (ground(next(read_frames(tmp_path / "c.mp4"))) - ground(torch.from_numpy(pixels).permute(2, 0, 1))).abs()
    assert error.max() * 255 <= 3


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("size", [(64, 48), (1280, 720)])
def test_what_is_written_names_its_colours(tmp_path, suffix, size):
    truth = torch.from_numpy(numbered(FIRST, *size)).permute(2, 0, 1)
    write_video(tmp_path / f"w.{suffix}", [truth] * 2, 25)
    with av.open(str(tmp_path / f"w.{suffix}")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1 if size[1] == 720 else 5, 1)
        assert frame.format.name == "yuv420p"
    back = next(read_frames(tmp_path / f"w.{suffix}"))
    assert (ground(back) - ground(truth)).abs().mean() * 255 < 3
    assert ((ground(back) - ground(truth)).mean(dim=(1, 2)) * 255).abs().max() < 2.5  # no cast


def test_hdr_says_so(tmp_path):
    record(tmp_path / "hdr.mp4", FRAMES, fmt="yuv420p10le", color_trc=18, color_primaries=9, colorspace=9)
    with pytest.warns(Notice, match="HDR"):
        assert len(list(read_frames(tmp_path / "hdr.mp4"))) == COUNT


# ---- flags of the camera

ONE = 65536
FLAGS = {  # right becomes (a, b), down becomes (c, d): what happens to a (3, H, W) picture
    (1, 0, 0, 1): lambda p: p,
    (0, 1, -1, 0): lambda p: p.rot90(-1, (1, 2)),
    (0, -1, 1, 0): lambda p: p.rot90(1, (1, 2)),
    (-1, 0, 0, -1): lambda p: p.rot90(2, (1, 2)),
    (-1, 0, 0, 1): lambda p: p.flip(2),
    (1, 0, 0, -1): lambda p: p.flip(1),
    (0, 1, 1, 0): lambda p: p.transpose(1, 2),
    (0, -1, -1, 0): lambda p: p.transpose(1, 2).flip(1, 2),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_turned_and_mirrored(tmp_path, flag):
    plain = record(tmp_path / "plain.mp4", FRAMES)
    a, b, c, d = (ONE * number for number in flag)
    other = turned(plain, tmp_path / "flag.mp4", (a, b, 0, c, d, 0, 0, 0, 1 << 30))
    for before, after in zip(read_frames(plain), read_frames(other), strict=True):
        assert torch.equal(after, FLAGS[flag](before))


@pytest.mark.parametrize("ratio, width", [(Fraction(4, 3), 85), (Fraction(8, 9), 57)])
def test_pixels_that_are_not_square(tmp_path, ratio, width):
    frames, _ = check(record(tmp_path / "dv.mp4", FRAMES, sample_aspect_ratio=ratio))
    assert frames[0].shape == (3, 48, width)


def combed(number):
    "Two half pictures of a white bar that moved by four pixels in between."
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[::2, 8 * number : 8 * number + 8] = 255
    frame[1::2, 8 * number + 4 : 8 * number + 12] = 255
    return frame


def test_interlaced_without_combs(tmp_path):
    frames = [combed(n) for n in range(6)]
    header = {"options": {"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "1"}}
    clean = list(read_frames(record(tmp_path / "i.mp4", frames, **header)))
    teeth = lambda image: (image[:, 1:] - image[:, :-1]).abs().mean()  # noqa: E731
    assert len(clean) == 6
    for before, after in zip(frames[1:-1], clean[1:-1]):
        before = torch.from_numpy(before).permute(2, 0, 1)
        assert teeth(after.float()) < 0.2 * teeth(before.float())
        assert abs(after.float().mean() - before.float().mean()) < 12


# ---- transparency

SEE_THROUGH = {
    "rle.mov": ("qtrle", "argb"),
    "prores.mov": ("prores_ks", "yuva444p10le"),
    "png.mov": ("png", "rgba"),
    "ffv1.mkv": ("ffv1", "bgra"),
    "vp9.webm": ("libvpx-vp9", "yuva420p"),
    "vp8.webm": ("libvpx", "yuva420p"),
}


def with_hole(frame):
    "The lower left part is green that nobody sees."
    frame = np.concatenate([frame, np.full_like(frame[..., :1], 255)], axis=-1)
    frame[24:, :32] = [0, 255, 0, 0]
    return frame


@pytest.mark.parametrize("name", [*SEE_THROUGH, "hole.gif", "hole.webp", "hole.apng"])
def test_transparent_videos_are_put_on_white(tmp_path, name):
    holes, path = [with_hole(frame) for frame in FRAMES], tmp_path / name
    if name in SEE_THROUGH:
        options = {"auto-alt-ref": "0", "b": "4M"} if name.endswith("webm") else {}
        record(path, holes, *SEE_THROUGH[name], options=options)
    else:
        first, *rest = [Image.fromarray(hole) for hole in holes]
        first.save(path, format={"apng": "PNG"}.get(path.suffix[1:]), save_all=True, append_images=rest, duration=40)
    frames, _ = check(path, colour=255)
    for frame in frames:
        frame = frame.float() / (255 if frame.dtype == torch.uint8 else 1)
        assert frame[:, 28:44, 4:28].min() > 0.97
        assert (frame[:, 28:44, 36:60] - TRUTH[0, :, 28:44, 36:60] / 255).abs().mean() < 0.03


# ---- time


@pytest.mark.parametrize("suffix, codec", [("mp4", "libx264"), ("mkv", "libx264"), ("webm", "libvpx-vp9")])
def test_variable_rate(tmp_path, suffix, codec):
    "Read, write, read: the same frames at the same times."
    source = record(tmp_path / f"v.{suffix}", FRAMES, codec, ticks=UNEVEN, base=Fraction(1, 1000))
    times = tuple(Fraction(tick, 1000) for tick in UNEVEN)
    _, video = check(source, fps=Fraction(11, Fraction("0.6")))
    assert video.times == times == frame_times(source)
    for out in ("mp4", "mov", "mkv", "webm", "gif"):
        with video_writer(tmp_path / f"out.{out}", video.fps, times=video.times) as write:
            for frame in video.read():
                write(frame)
        numbers = [n for n in range(12) if out != "gif" or n != 8]  # a gif shows nothing for 1/100 s
        _, copy = check(tmp_path / f"out.{out}", numbers, Fraction(len(numbers) - 1, Fraction("0.6")), 6)
        kept = [times[n] for n in numbers]
        assert all(abs(a - b) <= Fraction(1, 1000) for a, b in zip(copy.times, kept, strict=True))


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(30000, 1001), 25, Fraction(25, 2), 60, 1])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_exact_rates(tmp_path, fps, suffix):
    write_video(tmp_path / f"r.{suffix}", TRUTH, fps)
    _, video = check(tmp_path / f"r.{suffix}", fps=fps)
    assert video.times == () and video.count == COUNT
    assert frame_times(tmp_path / f"r.{suffix}") == tuple(n / Fraction(fps) for n in range(COUNT))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_first_time_stamp_is_not_zero(tmp_path, recwarn, suffix):
    late = [1000 + 40 * n for n in range(COUNT)]
    _, video = check(record(tmp_path / f"late.{suffix}", FRAMES, ticks=late, base=Fraction(1, 1000)))
    assert video.times == () and not recwarn.list


def test_dropped_frames_leave_a_gap(tmp_path):
    "A camera that lost frames: the others keep their times."
    ticks = [0, 1, 2, 3, 7, 8, 9, 12, 13, 14, 15, 16]
    _, video = check(record(tmp_path / "gap.mp4", FRAMES, ticks=ticks), fps=Fraction(11 * 25, 16))
    assert video.times == tuple(Fraction(tick, 25) for tick in ticks)


def test_edit_list(tmp_path):
    "A video cut in the phone: the file holds all frames, and a list that says to begin with the sixth."
    content = bytearray(record(tmp_path / "whole.mp4", FRAMES).read_bytes())
    start = content.index(b"elst") + 4
    version, rows, length, begin, rate = struct.unpack(">IIIiI", content[start : start + 20])
    content[start : start + 20] = struct.pack(">IIIiI", version, rows, length - 200, begin + 5 * 512, rate)
    (tmp_path / "edited.mp4").write_bytes(content)
    _, video = check(tmp_path / "edited.mp4", range(5, 12), colour=6)
    assert video.count == 7 and video_info(tmp_path / "edited.mp4").frames == 12


def test_another_rate(tmp_path):
    "Asked for another rate, a video lasts as long, keeps its sound, and shows at each moment what was shown then."
    path = record(tmp_path / "v.mp4", FRAMES, ticks=UNEVEN, base=Fraction(1, 1000))
    assert open_video(path).path == path
    for fps in (50, 30, 10, 29.97):
        other = open_video(path, fps=fps)
        found, mean = [number_of(frame) - FIRST for frame in other.read()], Fraction(600, 11 * 1000)
        assert other.path == path and other.times == () and other.count == len(found)
        assert abs(other.count / other.fps - Fraction(600, 1000) - mean) < 1 / other.fps
        moments = [1000 * n / other.fps for n in range(len(found))]
        assert found == [sum(tick <= moment for tick in UNEVEN) - 1 for moment in moments]
    same = record(tmp_path / "c.mp4", FRAMES)
    assert open_video(same, fps=25).path == same and open_video(same, fps=29.97).fps == Fraction(2997, 100)
    assert open_video(FRAMES, fps=50).count == COUNT  # pictures without a rate of their own take the one they are given
    for wrong in (-1, 0, float("nan"), float("inf"), 1e9, "fast", None.__class__):
        with pytest.raises(UserError, match="fps is"):
            open_video(same, fps=wrong)


# ---- other things in the file


def beside(path, codec="libx264", attached=True, album=False, form=None):
    "A video (or, for an album, a second of sound) in a file whose first video stream is one grey picture."
    with av.open(str(path), "w", format=form) as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        if attached:
            cover.disposition = av.stream.Disposition.attached_pic
        main = container.add_stream(codec, rate=48000 if album else 25, **({"layout": "mono"} if album else {}))
        picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")
        picture.pts = 0
        packets = cover.encode(picture) + cover.encode()
        if album:
            frames = [av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono") for _ in range(48)]
        else:
            main.width, main.height, main.pix_fmt = 64, 48, "yuv420p"
            frames = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in FRAMES]
        for n, frame in enumerate(frames):
            frame.pts = 1024 * n if album else n
            if album:
                frame.sample_rate = 48000
            packets += main.encode(frame)
        for packet in packets + main.encode():
            container.mux(packet)
    return path


def test_video_with_a_cover(tmp_path):
    check(beside(tmp_path / "cover.mp4"))


def test_two_video_streams(tmp_path):
    check(beside(tmp_path / "two.mkv", attached=False))


@pytest.mark.parametrize("name, codec, form", [("song.mp3", "libmp3lame", "mp3"), ("song.m4a", "aac", "mp4")])
def test_song_with_a_cover_is_no_video(tmp_path, name, codec, form):
    with pytest.raises(UserError, match="no moving pictures"):
        open_video(beside(tmp_path / name, codec, album=True, form=form))


def test_size_changes_on_the_way(tmp_path):
    "A call over a bad line: all frames come in the size of the first."
    one = record(tmp_path / "1.ts", FRAMES[:6])
    two = record(tmp_path / "2.ts", [numbered(FIRST + 6 + n, 128, 96) for n in range(6)], ticks=range(6, 12))
    (tmp_path / "both.ts").write_bytes(one.read_bytes() + two.read_bytes())
    assert [number_of(frame) - FIRST for frame in read_frames(tmp_path / "both.ts")] == list(range(12))
    assert {frame.shape for frame in read_frames(tmp_path / "both.ts")} == {(3, 48, 64)}


# ---- damage


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    "Forty frames of 320 × 240, ten key frames."
    frames = [numbered(FIRST + n, 320, 240) for n in range(40)]
    folder = tmp_path_factory.mktemp("large")
    record(folder / "l.mp4", frames, options={"g": "4"}, flags={"movflags": "faststart"})
    record(folder / "l.mkv", frames, options={"g": "4"})
    return folder


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_cut_off(large, tmp_path, part):
    "A download that broke off is refused when it is opened, before any work; the sentence counts what is there."
    content = (large / "l.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UserError, match=r"cut.mp4 is cut off: \d+ of its 40 frames"):
        open_video(tmp_path / "cut.mp4")


def test_cut_off_without_a_count(large, tmp_path):
    "Where the header counts no frames, what is there is used, and a notice says how much that is."
    content = (large / "l.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: int(len(content) * 0.5)])
    with pytest.warns(Notice, match="promises 1.6 s, but ends after 0"):
        video = open_video(tmp_path / "cut.mkv")
    frames = list(video.read())
    assert 10 < len(frames) < 30 and [number_of(f) - FIRST for f in frames[:8]] == list(range(8))


def test_damage_in_the_middle_loses_nothing_else(large, tmp_path):
    "Frames that cannot be decoded are replaced; those before and well after are right, and so is their number."
    content = bytearray((large / "l.mp4").read_bytes())
    middle = len(content) // 4
    content[middle : middle + 300] = bytes(300)
    (tmp_path / "hurt.mp4").write_bytes(content)
    with pytest.warns(Notice, match="damaged frames? (was|were) replaced by the one before"):
        frames = list(open_video(tmp_path / "hurt.mp4").read())
    numbers = [number_of(frame) - FIRST for frame in frames]
    assert abs(len(numbers) - 40) <= 1 and numbers[-20:] == list(range(20, 40))


def test_nothing_but_damage(tmp_path):
    content = bytearray(record(tmp_path / "whole.mp4", FRAMES).read_bytes())
    start = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    content[start:end] = bytes(end - start)
    (tmp_path / "zeros.mp4").write_bytes(content)
    with pytest.raises(UserError, match="zeros.mp4"):
        list(open_video(tmp_path / "zeros.mp4").read())


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_cut_off_animation(tmp_path, suffix):
    PICTURES[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=PICTURES[1:], duration=40)
    content = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cut"):
        list(open_video(tmp_path / f"cut.{suffix}").read())


# ---- animated pictures, folders, lists


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "apng"])
@pytest.mark.parametrize("delays", [40, [40, 200, 40, 40, 100, 40] * 2])
def test_animated_pictures(tmp_path, suffix, delays):
    form = "PNG" if suffix == "apng" else None
    options = {"lossless": True} if suffix == "webp" else {}
    options |= {"append_images": PICTURES[1:], "duration": delays}
    PICTURES[0].save(tmp_path / f"a.{suffix}", form, save_all=True, **options)
    if delays == 40:
        _, video = check(tmp_path / f"a.{suffix}")
        assert video.times == ()
    else:
        starts = np.cumsum([0, *delays[:-1]]).tolist()
        _, video = check(tmp_path / f"a.{suffix}", fps=Fraction(11_000, starts[-1]))
        assert video.times == tuple(Fraction(start, 1000) for start in starts)
    assert video.path is None  # no sound


def test_delays_no_browser_believes(tmp_path):
    "A gif with delays of 0 plays at ten frames a second."
    PICTURES[0].save(tmp_path / "a.gif", save_all=True, append_images=PICTURES[1:], duration=0)
    check(tmp_path / "a.gif", fps=10)


def test_png_with_another_default_picture(tmp_path):
    PICTURES[5].save(tmp_path / "a.png", save_all=True, append_images=PICTURES, duration=40, default_image=True)
    check(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_still(tmp_path, suffix):
    PICTURES[0].save(tmp_path / f"still.{suffix}")
    assert open_video(tmp_path / f"still.{suffix}").count == 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_folder_in_natural_order(tmp_path, suffix):
    for n, picture in enumerate(PICTURES):
        picture.save(tmp_path / f"frame{n}.{suffix}", quality=95)
    (tmp_path / "notes.txt").write_text("frame2 comes before frame10")
    (tmp_path / f"._frame1.{suffix}").write_text("left here by a file manager")
    _, video = check(tmp_path)
    assert video.count == COUNT
    assert check(str(tmp_path))[1].name == str(tmp_path)
    assert open_video(tmp_path, fps=Fraction(25, 2)).fps == Fraction(25, 2)


def test_folder_of_mixed_sizes(tmp_path):
    "Refused when it is opened; the sentence names the picture."
    for n in range(3):
        Image.fromarray(numbered(n, 64 + 8 * (n == 2), 48)).save(tmp_path / f"{n}.png")
    with pytest.raises(UserError, match=r"2\.png.*72×48.*64×48"):
        open_video(tmp_path)


def test_folder_without_pictures(tmp_path):
    with pytest.raises(UserError, match="is a folder without pictures"):
        open_video(tmp_path)


def in_memory(tmp_path):
    "One video in eleven dresses."
    for n, picture in enumerate(PICTURES):
        picture.save(tmp_path / f"{n}.png")
    return {
        "paths": [tmp_path / f"{n}.png" for n in range(COUNT)],
        "pillow": PICTURES,
        "arrays": FRAMES,
        "tuple": tuple(FRAMES),
        "tensors": list(TRUTH),
        "mixed": [FRAMES[0], PICTURES[1], *(TRUTH[2:] / 255)],
        "bytes tensor": TRUTH,
        "float tensor": TRUTH / 255,
        "bytes array": np.stack(FRAMES),
        "float array": np.stack(FRAMES) / 255,
        "function": lambda: iter(FRAMES),
        "generator function": lambda: (frame for frame in PICTURES),
    }


def test_videos_in_memory(tmp_path):
    for name, video in in_memory(tmp_path).items():
        frames, found = check(video, colour=0.01)
        assert torch.equal((torch.stack(frames).float() * 255).round().byte(), TRUTH), name
        assert not found.once and found.path is None


def test_iterator_is_read_once():
    frames, video = check(iter(FRAMES), colour=0.01)
    assert video.once and video.count == 0
    with pytest.raises(UserError, match="was read before"):
        list(video.read())


def test_what_is_no_video(tmp_path):
    cases = {
        "(T, H, W, 3)": np.stack(FRAMES)[0],
        "T, 3, H, W": TRUTH[0],
        "divide by 255": TRUTH.float(),
        "one size": [FRAMES[0], FRAMES[1][:40]],
        "does not exist": tmp_path / "nothing.mp4",
        "not a video": tmp_path / "words.mp4",
        "video cannot be": 3,
    }
    (tmp_path / "words.mp4").write_text("to be or not to be")
    for words, video in cases.items():
        with pytest.raises(UserError, match=re.escape(words)):
            list(open_video(video).read())


# ---- writing


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "gif", ""])
def test_written_and_read(tmp_path, suffix):
    "The same frames; even sides; nothing left behind; 'synthetic' inside."
    path = tmp_path / f"out.{suffix}".rstrip(".")
    with video_writer(path, 25) as write:
        for frame in TRUTH:
            write(frame)
    _, video = check(path)
    assert video.count == COUNT and [p.name for p in tmp_path.iterdir()] == [path.name]
    if suffix == "gif":
        assert b"synthetic" in Image.open(path).info["comment"]
    elif suffix:
        with av.open(str(path)) as container:
            tags = {name.lower(): text for name, text in container.metadata.items()}
            assert "synthetic" in tags["title"] and "synthetic" in tags["comment"]
    else:
        assert sorted(p.name for p in path.iterdir())[:2] == ["000000.png", "000001.png"]
        assert all("synthetic" in Image.open(p).text["Title"] for p in path.iterdir())
    if suffix in ("mp4", "mov"):  # plays while it loads: the index comes first
        assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif", ""])
def test_failure_leaves_nothing(tmp_path, suffix):
    for fault in (UserError("no"), KeyboardInterrupt()):
        with pytest.raises(type(fault)), video_writer(tmp_path / f"out.{suffix}".rstrip("."), 25) as write:
            write(TRUTH[0])
            raise fault
    with pytest.raises(UserError, match="no frame"), video_writer(tmp_path / f"out.{suffix}".rstrip("."), 25):
        pass
    with pytest.raises(UserError, match="shape"), video_writer(tmp_path / f"out.{suffix}".rstrip("."), 25) as write:
        write(TRUTH[0])
        write(TRUTH[0, :, :40])
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "full").mkdir()
    for name, words in {"out.txt": "something.mp4", "full": "something.mp4", "no/such/out.gif": "does not exist",
                        "no/such/folder": "cannot write"}.items():  # fmt: skip
        with pytest.raises(UserError, match=words), video_writer(tmp_path / name, 25) as write:
            write(TRUTH[0])


@pytest.mark.parametrize("fps", [24, 25, 30, Fraction(30000, 1001), 60])
def test_gif_lasts_as_long(tmp_path, fps):
    "Delays are whole hundredths and at least two; they add up, even where frames must be left out (60 a second)."
    with video_writer(tmp_path / "out.gif", fps) as write:
        for n in range(60):
            write(torch.from_numpy(numbered(n)).permute(2, 0, 1))
    delays = []
    with Image.open(tmp_path / "out.gif") as picture:
        for n in range(picture.n_frames):
            picture.seek(n)
            delays.append(picture.info["duration"])
    assert abs(sum(delays) / 1000 - 60 / fps) <= 0.02 and min(delays) >= 20
    assert fps > 50 or len(delays) == 60


def test_copies_of_stills(tmp_path):
    for suffix in ("png", "jpg", "webp"):
        write_image(tmp_path / f"p.{suffix}", TRUTH[0])
        back = read_image(tmp_path / f"p.{suffix}")
        assert (back - TRUTH[0] / 255).abs().mean() * 255 < (0.01 if suffix == "png" else 4)
        picture = Image.open(tmp_path / f"p.{suffix}")
        assert "synthetic" in (picture.text["Title"] if suffix == "png" else picture.getexif()[0x010E])


# ---- sound

SOURCES = {
    "plain.mp4": {},
    "plain.mkv": {"sound": "libopus"},
    "song.mp4": {"sound": "libmp3lame"},
    "raw.mov": {"sound": "pcm_s16le"},
    "sound-late.mp4": {"sound_from": 0.5},
    "sound-late.mkv": {"sound_from": 0.5},
    "picture-late.mkv": {"picture_from": 0.5},
    "picture-late.mp4": {"picture_from": 0.5},
    "broadcast.ts": {},
    "uneven.mp4": {"times": [Fraction(n, 25) + Fraction(n % 3 * 12, 1000) for n in range(50)]},
    "plain.webm": {"sound": "libopus"},
}


@pytest.mark.parametrize("name", SOURCES)
def test_beep_stays_with_the_flash(tmp_path, name):
    "Read, write with sound, read: the beep is at the flash to a quarter of a frame, and the sound ends with the video."
    source = flash_and_beep(tmp_path / name, seconds=2, flash=25, **SOURCES[name])
    video = open_video(source)
    for suffix in ("mp4", "webm", *(("mov", "mkv") if name in ("plain.mp4", "sound-late.mkv") else ())):
        with video_writer(tmp_path / f"out.{suffix}", video.fps, sound=video.path, times=video.times) as write:
            for frame in video.read():
                write(frame)
        flash, beep, end = find_flash_and_beep(tmp_path / f"out.{suffix}")
        expected = float(video.times[25] if video.times else 1)
        assert abs(flash - expected) < 0.002 and abs(beep - flash) < 0.01
        assert end < 2 + 0.04
        assert open_video(tmp_path / f"out.{suffix}").count == 50


def test_sound_is_copied_where_it_can_be(tmp_path):
    source = flash_and_beep(tmp_path / "s.mp4")
    wanted = {"mp4": "aac", "mov": "aac", "mkv": "aac", "webm": "opus"}
    for suffix, codec in wanted.items():
        with video_writer(tmp_path / f"out.{suffix}", 25, sound=source) as write:
            for frame in read_frames(source):
                write(frame)
        with av.open(str(tmp_path / f"out.{suffix}")) as out, av.open(str(source)) as before:
            assert out.streams.audio[0].codec_context.name == codec
            new, old = ([bytes(packet) for packet in file.demux(audio=0) if packet.size] for file in (out, before))
            assert len(new) > 150 and all(packet in old for packet in new) == (suffix != "webm")


def test_sound_is_cut_with_the_picture(tmp_path):
    source = flash_and_beep(tmp_path / "s.mp4")
    with video_writer(tmp_path / "out.mp4", 25, sound=source) as write:
        for _ in range(60):
            write(TRUTH[0])
    _, beep, end = find_flash_and_beep(tmp_path / "out.mp4")
    assert abs(beep - 2) < 0.01 and 2.36 < end < 2.44


def test_no_sound_to_be_had(tmp_path):
    silent = record(tmp_path / "silent.mp4", FRAMES)
    with video_writer(tmp_path / "out.mp4", 25, sound=silent) as write:
        write(TRUTH[0])
    assert find_flash_and_beep(tmp_path / "out.mp4")[1] is None
    (tmp_path / "words.mp3").write_text("la la la")
    with pytest.raises(UserError, match="not a sound file"):
        with video_writer(tmp_path / "x.mp4", 25, sound=tmp_path / "words.mp3"):
            pass
    with warnings.catch_warnings(), video_writer(tmp_path / "x.gif", 25, sound=silent) as write:
        warnings.simplefilter("error")  # nothing is lost, so nothing is said
        write(TRUTH[0])
    flash_and_beep(tmp_path / "loud.mp4", seconds=1, flash=5)
    loud = tmp_path / "loud.mp4"
    with pytest.warns(Notice, match="no sound"), video_writer(tmp_path / "y.gif", 25, sound=loud) as write:
        write(TRUTH[0])


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_damaged_sound_costs_no_picture(tmp_path, suffix):
    "The last part of the sound is zeros: all pictures are written, and the beep before is where it was."
    content = bytearray(flash_and_beep(tmp_path / "s.mkv", sound="libopus").read_bytes())
    content[len(content) * 3 // 4 :] = bytes(len(content) - len(content) * 3 // 4)
    (tmp_path / "hurt.mkv").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        with video_writer(tmp_path / f"out.{suffix}", 25, sound=tmp_path / "hurt.mkv") as write:
            for n in range(100):
                write(torch.full((3, 48, 64), 255 * (n == 50), dtype=torch.uint8))
    flash, beep, _ = find_flash_and_beep(tmp_path / f"out.{suffix}")
    assert flash == 2 and abs(beep - 2) < 0.01
    assert open_video(tmp_path / f"out.{suffix}").count == 100


# ---- files from strangers


def forged(form, width, height):
    "A picture that says it has so many pixels, and has not."
    content = bytearray(as_bytes(PICTURES[0], form))
    if form == "GIF":
        content[6:10] = struct.pack("<HH", width, height)
    elif form == "PNG":
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    else:
        content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


@pytest.mark.parametrize("form", ["GIF", "PNG", "BMP"])
@pytest.mark.parametrize("side", [13_000, 16_384])
def test_too_large_by_its_header(tmp_path, form, side, monkeypatch):
    "Refused before a pixel is made, as a picture, a video, bytes or a frame; the sentence says how to allow it."
    (tmp_path / "bomb.png").write_bytes(forged(form, side, side))
    ways = [read_image, open_video, lambda path: open_video(path.parent), lambda path: read_image(path.read_bytes())]
    for read in ways:
        with pytest.raises(UserError, match=f"too large: {side:,} × {side:,} pixels.*MCNET_MAX_PIXELS"):
            read(tmp_path / "bomb.png")
    monkeypatch.setenv("MCNET_MAX_PIXELS", "1000")
    with pytest.raises(UserError, match="64 × 48"):
        read_image(as_bytes(PICTURES[0], form))
    record(tmp_path / "large.mp4", FRAMES)
    with pytest.raises(UserError, match="64 × 48"):
        open_video(tmp_path / "large.mp4")
    assert Image.MAX_IMAGE_PIXELS  # Pillow's own limit is where it was


def test_no_program_is_asked(tmp_path, monkeypatch):
    "PostScript behind a picture's name: Pillow would start Ghostscript."
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    for read in (read_image, open_video, lambda path: open_video(path.parent)):
        with pytest.raises(UserError, match="a PostScript drawing"):
            read(tmp_path / "a.png")


LISTS = {
    "concat.mp4": "ffconcat version 1.0\nfile other.mp4\n",
    "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n",
    "words.mp4": "to be or not to be\n" * 100,
    "drawing.mp4": "<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_open_nothing(tmp_path, name):
    record(tmp_path / "other.mp4", FRAMES)
    (tmp_path / name).write_text(LISTS[name])
    with pytest.raises(UserError, match=name):
        open_video(tmp_path / name)
    with pytest.raises(UserError, match=name), video_writer(tmp_path / "out.mp4", 25, sound=tmp_path / name):
        pass


@pytest.mark.parametrize("name", ["12:30.mp4", "http:a.mp4", "05-01T10:30:15.mp4", "a%03d.mp4", "[1] #ä.mp4", "-i.mp4"])
def test_odd_names(tmp_path, name, monkeypatch):
    "A colon makes no address, a percent sign no row of files."
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "plain.mp4", FRAMES).rename(name)
    for path in (name, f"./{name}", tmp_path / name):
        assert open_video(path).count == COUNT


def test_pipes_are_never_opened(tmp_path):
    "Alone, as sound, and among frames."
    write_image(tmp_path / "0.png", TRUTH[0])
    os.mkfifo(tmp_path / "1.png")
    for read in (read_image, open_video, lambda path: open_video(path.parent)):
        with pytest.raises(UserError, match="a named pipe"):
            read(tmp_path / "1.png")
    with pytest.raises(UserError, match="a named pipe"), video_writer(tmp_path / "o.mp4", 25, sound=tmp_path / "1.png"):
        pass


@pytest.mark.parametrize("wrong", [None, 3, b"", "", "a" * 5000, "a\0b", object()])
def test_what_is_no_video_and_no_picture(wrong):
    for read in (read_image, open_video, read_video):
        with pytest.raises(UserError) as caught:
            read(wrong)
        assert len(str(caught.value)) < 300


def test_uploads(tmp_path):
    "What a web server holds: bytes, BytesIO, an open file; read twice, with sound, and gone afterwards."
    source = flash_and_beep(tmp_path / "s.mp4", seconds=1, flash=5)
    for sent in (source.read_bytes(), io.BytesIO(source.read_bytes()), open(source, "rb")):
        video = open_video(sent)
        assert video.count == 25 == sum(1 for _ in video.read()) == sum(1 for _ in video.read())
        place = video.path
        with video_writer(tmp_path / "out.mp4", video.fps, sound=video.path) as write:
            for frame in video.read():
                write(frame)
        assert find_flash_and_beep(tmp_path / "out.mp4")[1] is not None and place.exists()
        del video
        assert not place.exists()
    png = as_bytes(PICTURES[0], "PNG")
    assert torch.equal(read_image(io.BytesIO(png)), TRUTH[0] / 255) and open_video(png).count == 1
    with pytest.raises(UserError, match="the video that was sent is a text"):
        open_video(b"la la la")
    with pytest.raises(UserError, match="mode rb"):
        read_image(io.StringIO("la"))


# ---- broken clocks


def clock(path, ticks, base=Fraction(1, 1000), form="matroska", decoded=None):
    "A video without B-frames whose frames are shown at these ticks, whatever order they are in."
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.codec_context.time_base = base
        for number, (frame, tick, begun) in enumerate(zip(FRAMES, ticks, decoded or ticks)):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = number, base
            for packet in stream.encode(picture):
                packet.pts, packet.dts = tick, begun
                out.mux(packet)
    return path


def again(video, out):
    "Written with its times and read again: the numbers of its frames."
    with video_writer(out, video.fps, times=video.times) as write:
        for frame in video.read():
            write(frame)
    return [number_of(frame) - FIRST for frame in open_video(out).read()]


def test_two_frames_with_one_time(tmp_path):
    "They share the time until the next one; all are kept, in a row that grows."
    for ticks in ([0, 40, 80, 80, 160, 200], [0, 40, 80, 80, 80, 80], [0, 0, 0, 0, 0, 0]):
        video = open_video(clock(tmp_path / "t.mkv", ticks))
        times = video.times or tuple(n / video.fps for n in range(6))
        assert video.count == 6 and all(a < b for a, b in zip(times, times[1:]))
        assert again(video, tmp_path / "out.mp4") == list(range(6))
    assert find_pace([0, 40, 80, 80, 160], Fraction(1, 1000), []) == (25, 5, ())  # the gap was the missing frame's
    assert find_pace([0, 40, 80, 80, 200], Fraction(1, 1000), []).times[3] == Fraction(140, 1000)


def test_a_frame_a_day_later(tmp_path):
    day = 86_400_000
    with pytest.warns(Notice, match="its clock jumps 1 time,"):
        video = open_video(clock(tmp_path / "d.mkv", [0, 40, 80, day, day + 40, day + 80]))
    assert (video.fps, video.count, video.times) == (25, 6, ()) and again(video, tmp_path / "o.mp4") == list(range(6))


@pytest.mark.parametrize("form", ["matroska", "nut", "mov"])
def test_times_in_any_order(tmp_path, form):
    "Forwards in the decoder's clock; what is shown leaps a day, goes back, or is shuffled: no frame is lost for it."
    day, decoded = 86_400_000, [0, 40, 80, 120, 160, 200]
    leaps = [240, 280, day, 320, 360, 400], [240, 280, 320, day, day + 40, day + 80]
    for ticks in ([240, 360, 280, 440, 320, 400], *leaps):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            video = open_video(clock(tmp_path / "t", ticks, form=form, decoded=decoded))
        times = video.times or tuple(n / video.fps for n in range(6))
        assert all(a < b for a, b in zip(times, times[1:])) and times[-1] < 1
        assert again(video, tmp_path / "out.mp4") == list(range(6))
        assert day not in ticks or "its clock jumps" in str(told[0].message)
    with pytest.warns(Notice, match="jumps 5 times"):
        video = open_video(clock(tmp_path / "back.mkv", [440, 400, 360, 320, 280, 240], decoded=decoded))
    assert (video.fps, video.count, video.times) == (25, 6, ())


def test_joined_files(tmp_path):
    "cat a.ts b.ts: the clock begins again; the frames are shown one after the other."
    one = record(tmp_path / "1.ts", FRAMES, options={"bf": "0"})
    (tmp_path / "both.ts").write_bytes(one.read_bytes() * 2)
    with pytest.warns(Notice, match="clock jumps"):
        video = open_video(tmp_path / "both.ts")
    numbers = [number_of(frame) - FIRST for frame in video.read()]
    assert numbers == [*range(COUNT)] * 2 and video.count == 24 and abs(video.fps - 25) < 0.5


def test_codec_nobody_knows(tmp_path):
    content = record(tmp_path / "a.mp4", FRAMES).read_bytes()
    (tmp_path / "b.mp4").write_bytes(content.replace(b"avc1", b"zzzz"))
    with pytest.raises(UserError, match="b.mp4 is in a codec that nobody here can decode; convert it"):
        open_video(tmp_path / "b.mp4")


# ---- frames of any kind


def test_frames_that_can_be_written(tmp_path):
    "Pillow's, numpy's, floats and bytes, wide integers, grey: the same video."
    rows = [PICTURES[0], FRAMES[0], FRAMES[0] / 255, FRAMES[0].astype(int), TRUTH[0], TRUTH[0] / 255, TRUTH[0].int()]
    write_video(tmp_path / "o.mkv", rows, 25)
    assert [number_of(frame) - FIRST for frame in read_frames(tmp_path / "o.mkv")] == [0] * len(rows)


NO_FRAMES = [TRUTH[0] / 0.0, TRUTH[0] * float("nan"), torch.rand(1, 8, 8), torch.rand(8, 8), "no.png", 7]


@pytest.mark.parametrize("frame", NO_FRAMES)
def test_frames_that_cannot(tmp_path, frame):
    with pytest.raises(UserError, match="frame 0"):
        write_video(tmp_path / "o.mp4", [frame], 25)
    assert not list(tmp_path.iterdir())


def test_integers_of_every_width():
    "0…255 in wide integers are bytes, 16 bits are 16 bits, true is white."
    truth = TRUTH[0] / 255
    for kind in (np.uint8, np.int16, np.int32, np.int64, np.uint32):
        assert torch.allclose(read_image(FRAMES[0].astype(kind)), truth), kind
    for kind in (torch.uint8, torch.int16, torch.int32, torch.int64):
        assert torch.allclose(read_image(TRUTH[0].to(kind)), truth), kind
    assert torch.allclose(read_image(FRAMES[0].astype(np.uint16) * 257), truth)
    assert torch.allclose(read_image(FRAMES[0].astype(np.int64) * 257), truth)
    assert torch.allclose(read_image(FRAMES[0].astype(">i4")), truth)
    assert torch.equal(read_image(FRAMES[0] > 128), (TRUTH[0] > 128).float())
    for wrong in (FRAMES[0].astype(int) - 300, FRAMES[0].astype(int) * 1000, FRAMES[0].astype(str), np.zeros((0, 5, 3)),
                  FRAMES[0].astype(complex), FRAMES[0] * np.nan, torch.zeros(3, 0, 0)):  # fmt: skip
        with pytest.raises(UserError):
            read_image(wrong)


# ---- long videos

MEASURE = """
import json, re, sys
import torch
from mcnet.media.recording import video_writer
from mcnet.media.video import open_video
torch.set_num_threads(1)
for path in sys.argv[1:]:
    video = open_video(path)
    with video_writer("out.mp4", video.fps, sound=video.path, times=video.times) as write:
        for frame in video.read():
            write(frame)
    print(json.dumps([video.count, int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])]))
"""


def test_memory_does_not_grow_with_length(tmp_path):
    "Five seconds, then a minute, with sound: the most memory the process ever took grows by less than 5 %."
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not say how much memory a process took at most (/proc/self/status)")
    paths = [flash_and_beep(tmp_path / f"{seconds}.mp4", seconds=seconds) for seconds in (5, 60)]
    words = [sys.executable, "-c", MEASURE, *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    (short, before), (long, after) = map(json.loads, done.stdout.splitlines())
    assert (short, long) == (125, 1500) and after < 1.05 * before


def test_sheet():
    "Evenly spaced pictures with their seconds; an iterator of unknown length is read once and never held."
    long = video_sheet(open_video(numbered(n % 256) for n in range(700)), count=12, columns=4, height=48)
    assert long.shape == (3, 3 * 50 - 2, 4 * 66 - 2)
    tiles = [long[:, 50 * (n // 4) : 50 * (n // 4) + 48, 66 * (n % 4) : 66 * (n % 4) + 64] for n in range(12)]
    shown = [number_of(tile) for tile in tiles]
    expected = [round(n * 699 / 11) for n in range(12)]
    assert all(abs((a - b + 128) % 256 - 128) <= 16 for a, b in zip(shown, expected))
    short = video_sheet(open_video(FRAMES), count=6, columns=6, height=48)
    assert [number_of(short[:, :, 66 * n : 66 * n + 64]) - FIRST for n in range(6)] == [0, 2, 4, 7, 9, 11]
    assert not torch.equal(tiles[0][:, 30:], tiles[1][:, 30:])  # the seconds differ
    with pytest.raises(UserError, match="no frames"):
        video_sheet(open_video([]))


# ---- colours of pictures


@pytest.mark.parametrize("name", ["Adobe RGB", "Display P3"])
@pytest.mark.parametrize("form", ["png", "jpeg", "tiff", "webp", "rgba"])
def test_profiles_are_obeyed(tmp_path, name, form):
    "The same numbers mean another colour in a photo's own colour space; the truth is computed by hand."
    colours = np.array([[200, 100, 50], [90, 160, 90], [60, 90, 200], [128, 128, 128]], np.uint8)
    picture = Image.fromarray(colours[:, None].repeat(16, 0).repeat(16, 1))
    if form == "rgba":
        picture.putalpha(255)
    options = {"jpeg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(form, {})
    kind = "png" if form == "rgba" else form
    (tmp_path / f"p.{kind}").write_bytes(as_bytes(picture, kind, icc_profile=profile(name), **options))
    linear = np.linalg.solve(to_xyz("sRGB"), to_xyz(name) @ ((colours / 255) ** 2.2).T).T.clip(0, 1)
    truth = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    found = read_image(tmp_path / f"p.{kind}")[:, 8::16, 8].T
    assert (found - torch.from_numpy(truth)).abs().max() * 255 < 3
    assert (found - torch.from_numpy(colours / 255)).abs().max() * 255 > 10


def test_profiles_that_change_nothing(tmp_path):
    "sRGB itself, and a profile that is broken, leave every bit as it is."
    for content in (profile("sRGB"), b"no profile at all"):
        PICTURES[0].save(tmp_path / "p.png", icc_profile=content)
        assert torch.equal(read_image(tmp_path / "p.png"), TRUTH[0] / 255)


def test_heic(tmp_path):
    "Read where pillow-heif is; else the sentence says what to install. A broken one is called broken."
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    (tmp_path / "renamed.jpg").write_bytes((tmp_path / "photo.heic").read_bytes())
    there = importlib.util.find_spec("pillow_heif")
    for name in ("photo.heic", "renamed.jpg"):
        with pytest.raises(UserError, match=f"{name} is a HEIC photo" + ("" if there else ".*pip install pillow-heif")):
            read_image(tmp_path / name)


def test_avif(tmp_path):
    if not features.check("avif"):
        pytest.skip("this Pillow was built without avif")
    PICTURES[0].save(tmp_path / "p.avif", quality=95)
    assert (read_image(tmp_path / "p.avif") - TRUTH[0] / 255).abs().mean() * 255 < 4


def test_speed(tmp_path):
    "250 frames of 256 × 256 take a fraction of a second, not several (a loop over pixels would take minutes)."
    import time

    record(tmp_path / "s.mp4", [numbered(n, 256, 256) for n in range(250)])
    start = time.process_time()
    assert sum(1 for _ in read_frames(tmp_path / "s.mp4")) == 250
    assert time.process_time() - start < 2


def test_reading_twice_gives_the_same(tmp_path):
    path = record(tmp_path / "a.mp4", FRAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        video = open_video(path)
        assert all(torch.equal(a, b) for a, b in zip(video.read(), video.read(), strict=True))
    frames, fps = read_video(path)
    assert frames.shape == (12, 3, 48, 64) and frames.dtype == torch.uint8 and fps == 25
    assert Path(video.name) == path


def test_memory_that_ran_out_is_no_damage(tmp_path, monkeypatch):
    "It is the machine's fault, not the file's: the error goes on to whoever can say what to lower."
    video_file(tmp_path / "a.mp4")
    PICTURES[0].save(tmp_path / "a.png")

    def starve(*arguments, **options):
        raise av.error.MemoryError(12, "Cannot allocate memory")

    cases = [(av, "open", "a.mp4", open_video), (Image, "open", "a.png", read_image),
             (ImageFile.ImageFile, "load", "a.png", read_image)]  # fmt: skip
    for owner, name, file, read in cases:
        with monkeypatch.context() as patch, pytest.raises(MemoryError):
            patch.setattr(owner, name, starve)
            read(tmp_path / file)


def test_notes_in_another_alphabet(tmp_path):
    "A title that is no UTF-8 keeps nobody from seeing the video."
    content = video_file(tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(content.replace(b"Lavf", b"L\xe4vf"))
    assert content.count(b"Lavf") and len(list(open_video(tmp_path / "a.mkv").read())) == 7


def test_no_frame_outlives_its_video(tmp_path):
    "A thousand videos read one after the other leave no frame behind, and with it a decoder's memory."
    path = video_file(tmp_path / "a.mp4")
    gc.collect()
    kept = [torch.stack(list(read_frames(path))) for _ in range(3)]
    assert len(kept) == 3 and not [found for found in gc.get_objects() if type(found) is av.VideoFrame]
