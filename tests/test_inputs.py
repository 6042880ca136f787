"Odd but honest input: every kind of picture and video that people have simply works."

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from inputs import picture, tiny_weights, turned, video_file
from PIL import Image
from repository import DATA

from mcnet.animation.animate import Animator, Settings, stream
from mcnet.animation.scene import open_driving
from mcnet.data.layouts import find_clips
from mcnet.data.pairs import ClipPairs, read_pair_list
from mcnet.media.frames import read_frames, video_info
from mcnet.media.pictures import centre_crop, fit_square, read_image
from mcnet.media.video import read_video
from mcnet.memory.network import MCNet, MCNetConfig

ONE = 65536  # the number 1 in the track header of an mp4


@pytest.fixture(scope="module")
def animator(tmp_path_factory):
    return Animator.from_pretrained(tiny_weights(tmp_path_factory.mktemp("weights") / "w.safetensors"), "cpu")


@pytest.fixture(scope="module")
def driving(tmp_path_factory):
    return video_file(tmp_path_factory.mktemp("video") / "driving.mp4")


def with_alpha(image):
    image = image.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def sixteen_bits(image):
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


KINDS = {
    "rgb.png": lambda p: p,
    "rgb.jpg": lambda p: p,
    "rgb.webp": lambda p: p,
    "rgb.bmp": lambda p: p,
    "rgba.png": with_alpha,
    "grey.png": lambda p: p.convert("L"),
    "grey-alpha.png": lambda p: with_alpha(p).convert("LA"),
    "grey16.png": sixteen_bits,
    "grey16.tif": sixteen_bits,
    "bilevel.png": lambda p: p.convert("1"),
    "palette.gif": lambda p: p.convert("P"),
    "palette.png": lambda p: p.quantize(64),
    "cmyk.jpg": lambda p: p.convert("CMYK"),
    "cmyk.tif": lambda p: p.convert("CMYK"),
    "lab.tif": lambda p: Image.merge("LAB", p.split()),
    "ycbcr.jpg": lambda p: p.convert("YCbCr"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_picture(animator, driving, tmp_path, name):
    KINDS[name](picture(64, 64)).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.shape == (3, 64, 64) and image.dtype == torch.float32
    assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.1
    made = animator.animate(tmp_path / name, driving, tmp_path / "out.mp4")
    assert made.frames == 7 and read_video(made.path)[0].shape == (7, 3, 64, 64)


@pytest.mark.parametrize("name", ["rgb.png", "cmyk.tif", "grey16.png", "palette.png", "rgb.jpg"])
def test_colours_survive(tmp_path, name):
    KINDS[name](picture(64, 64)).save(tmp_path / name)
    wanted = read_image(picture(64, 64).convert("L") if "grey" in name else picture(64, 64))
    assert (read_image(tmp_path / name) - wanted).abs().mean() < 0.03


@pytest.mark.parametrize("flag", range(1, 9))
def test_exif_rotation(tmp_path, flag):
    "A camera stores its pictures lying down and a flag that says how to turn them; all eight come out alike."
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's numbers of the turns that the flag takes back
    upright = picture(40, 60)
    stored = upright.transpose(Image.Transpose(undo[flag])) if flag > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = flag
    stored.save(tmp_path / "photo.png", exif=exif)
    assert torch.equal(read_image(tmp_path / "photo.png"), read_image(upright))


@pytest.mark.parametrize("width, height", [(64, 64), (50, 90), (90, 50), (33, 47), (1001, 17), (640, 480)])
def test_every_shape(animator, tmp_path, recwarn, width, height):
    "Portrait, landscape, odd sizes, of picture and of video; a notice where sides are cut off."
    picture(width, height).save(tmp_path / "source.png")
    clip = video_file(tmp_path / "driving.mp4", frames=3, width=width, height=height)
    made = animator.animate(tmp_path / "source.png", clip, tmp_path / "out.mp4")
    assert read_video(made.path)[0].shape == (3, 3, 64, 64)
    notices = [str(w.message) for w in recwarn if "only the square" in str(w.message)]
    assert len(notices) == (2 if width != height else 0)


def test_pictures_in_memory(animator, driving, tmp_path):
    "Path, text, Pillow, array and tensor are one picture."
    picture(64, 64).save(tmp_path / "source.png")
    array = np.asarray(picture(64, 64))
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    sources = [tmp_path / "source.png", str(tmp_path / "source.png"), picture(64, 64), array, array / 255.0]
    sources += [tensor, tensor.float() / 255, (array.astype(np.uint16) * 257), tensor[None]]
    images = [read_image(source) for source in sources]
    assert all(torch.allclose(image, images[0], atol=1e-6) for image in images)
    videos = [animator.animate(source, driving, tmp_path / f"{i}.mp4").path for i, source in enumerate(sources[:3])]
    first, *others = (read_video(path)[0].float() for path in videos)
    assert all((other - first).abs().mean() < 1 for other in others)  # of 255; x264 does not repeat itself to the bit


@pytest.mark.parametrize("fps", [25, 1, Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2), 60])
@pytest.mark.parametrize("frames", [2, 11])
def test_frames_and_rate_are_kept(animator, tmp_path, fps, frames):
    clip = video_file(tmp_path / "driving.mp4", frames=frames, fps=fps)
    assert video_info(clip).fps == fps
    made = animator.animate(picture(), clip, tmp_path / "out.mp4", Settings(side_by_side=True))
    assert (made.frames, made.fps) == (frames, fps)
    pictures, rate = read_video(tmp_path / "out.mp4")
    assert pictures.shape == (frames, 3, 64, 192) and rate == fps


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_other_containers(animator, tmp_path, suffix):
    made = animator.animate(picture(), video_file(tmp_path / f"driving{suffix}"), tmp_path / f"out{suffix}")
    assert read_video(made.path)[0].shape == (7, 3, 64, 64) and read_video(made.path)[1] == 25


def test_animated_gif(animator, tmp_path):
    frames = [picture(64, 64).rotate(angle) for angle in range(0, 50, 10)]
    frames[0].save(tmp_path / "d.gif", save_all=True, append_images=frames[1:], duration=40)
    made = animator.animate(picture(), tmp_path / "d.gif", tmp_path / "out.mp4")
    assert (made.frames, made.fps) == (5, 25)


TURNS = {0: (ONE, 0, 0, ONE), 3: (0, ONE, -ONE, 0), 1: (0, -ONE, ONE, 0), 2: (-ONE, 0, 0, -ONE)}


@pytest.mark.parametrize("quarters", TURNS)
def test_rotated_video(tmp_path, quarters):
    "The matrix (a b, c d) sends right to (a, b) and down to (c, d): right becomes down = three left quarters."
    clip = video_file(tmp_path / "lying.mp4", width=64, height=48)
    a, b, c, d = TURNS[quarters]
    standing = turned(clip, tmp_path / "standing.mp4", (a, b, 0, c, d, 0, 0, 0, 1 << 30))
    assert torch.equal(read_video(standing)[0], torch.rot90(read_video(clip)[0], quarters, (2, 3)))


def test_outputs_say_that_they_are_synthetic(animator, driving, tmp_path):
    made = animator.animate(picture(), driving, tmp_path / "out.mp4")
    with av.open(str(made.path)) as container:
        assert "synthetic" in container.metadata["title"] and "synthetic" in container.metadata["comment"]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_long_video_in_little_memory(tmp_path):
    "Reading holds one frame at a time."
    clip = video_file(tmp_path / "long.mp4", frames=300)
    reader = read_frames(clip)
    assert next(reader).shape == (3, 64, 64)
    assert sum(1 for _ in reader) == 299


def test_batch_size_changes_nothing(animator, driving):
    "Frames do not see each other."
    source, results = fit_square(read_image(picture()), 64)[None], []
    for size in (1, 3, 7, 50):
        moved = list(stream(animator.network, source, open_driving(driving, 64), batch_size=size))
        results.append(torch.cat([batch.image for batch in moved]))
    assert all(torch.allclose(result, results[0], atol=1e-4) for result in results)


def test_source_is_encoded_once(animator, driving, monkeypatch):
    calls, encode = [], MCNet.encode
    monkeypatch.setattr(MCNet, "encode", lambda self, image: calls.append(len(image)) or encode(self, image))
    source = fit_square(read_image(picture()), 64)[None]
    assert len(list(stream(animator.network, source, open_driving(driving, 64), batch_size=2))) == 4
    assert calls == [1]


def test_first_frame_gives_the_source_back(animator, driving):
    "Relative motion from the reference frame to itself is none: the keypoints asked for are the source's own."
    source = fit_square(read_image(picture()), 64)[None]
    first = next(stream(animator.network, source, open_driving(driving, 64), batch_size=1))
    with torch.inference_mode():
        alone = animator.network(source, source).image
    assert torch.allclose(first.image, alone, atol=1e-3)


def test_predict(animator):
    source, other = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    made = animator.predict(source, other)
    assert made.shape == source.shape and made.min() >= 0 and made.max() <= 1 and not made.requires_grad
    one = animator.predict(source[1:], other[1:])
    assert torch.allclose(made[1:], one, atol=1e-4)
    assert animator.size == 64 == MCNetConfig.tiny().image_size


def test_centre_crop_is_centred():
    for height, width in [(5, 9), (9, 5), (4, 4), (6, 3)]:
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        square = centre_crop(torch.stack([x, y, x]))
        assert square.shape == (3, min(height, width), min(height, width))
        assert abs(square[0].float().mean() - (width - 1) / 2) <= 0.5
        assert abs(square[1].float().mean() - (height - 1) / 2) <= 0.5


@pytest.fixture
def real():
    "The folder of real clips and stills."
    if not list(DATA.glob("clips/*.mp4")) or not list(DATA.glob("stills/*")):
        pytest.skip("no real clips: ../shared/data is not there and MCNET_DATA names no folder with clips/ and stills/")
    return DATA


def smallest(folder):
    "Its clips, the shortest files first."
    return sorted(folder.glob("clips/*.mp4"), key=lambda path: path.stat().st_size)


def test_real_clip(animator, real, tmp_path):
    "A video from a camera: its own number of frames, its own rate."
    clips, stills = smallest(real), sorted(real.glob("stills/*"))
    made = animator.animate(stills[0], clips[0], tmp_path / "out.mp4", batch_size=16)
    frames, rate = read_video(made.path)
    assert made.frames == len(frames) == sum(1 for _ in read_frames(clips[0])) and rate == video_info(clips[0]).fps


def test_real_pairs(real, tmp_path):
    "Pairs of real clips, from memory and from the cache: the same."
    clips = smallest(real)[:3]
    kept = [ClipPairs(clips, 64, 16, cache=tmp_path).batch(3) for _ in range(2)]
    fresh = ClipPairs(clips, 64, 16).batch(3)
    assert all(torch.equal(pair.source, fresh.source) and torch.equal(pair.driving, fresh.driving) for pair in kept)
    assert fresh.source.shape == (16, 3, 64, 64) and not torch.equal(fresh.source, fresh.driving)


def test_splits_share_nobody(real):
    train, test = ({clip.person for clip in find_clips(real, split)} for split in ("train", "test"))
    assert train and test and not train & test


def test_pair_list():
    "The list of real test pairs can be read without the clips."
    rows = read_pair_list(Path(__file__).parents[1] / "data" / "pairs_real_test.csv")
    assert len(rows) == 480 and len({row.clip for row in rows}) == 16 and all(row.i != row.j for row in rows)
