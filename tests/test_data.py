"Other people's data: how it lies in folders, what is wrong with it, how it is cut to clips and packed into shards."

import inspect
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
import warnings
from pathlib import Path

import pytest
import torch
from inputs import as_bytes, picture, video_file
from PIL import Image
from repository import DATA

from mcnet.core import Notice, UserError
from mcnet.data import pairs as pairs_module
from mcnet.data.augment import AS_RELEASE, OURS, Augment
from mcnet.data.glance import glance, motion_signature
from mcnet.data.layouts import ClipFile, check_data, find_clips, list_folder, shard_index
from mcnet.data.pairs import ClipPairs, FramePairs, ListedPairs, PairRow, load_clip, read_pair_list
from mcnet.data.prepare import _splits, find_cuts, prepare_clips
from mcnet.data.shards import ShardPairs, spread_frames, write_shards
from mcnet.heads import faces
from mcnet.media.frames import read_frames
from mcnet.media.landmarks import Face
from mcnet.media.pictures import to_bytes
from mcnet.media.video import open_video, write_video

# ---- layouts

LAYOUTS = {  # name of the layout -> files, and the (person, split) of each clip, in the order of their paths
    "VoxCeleb1": (
        ["id10280/NXjT3732Ekg/00001.mp4", "test/id10281/a_b-c/00002.mp4"],
        [("id10280", "train"), ("id10281", "test")],
    ),
    "VoxCeleb2": (
        ["dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "test/mp4/id00017/01dfn2spqyE/00003.mp4"],
        [("id00012", "train"), ("id00017", "test")],
    ),
    "VoxCeleb crops": (
        ["test/id10283#x#1#2.mp4", *[f"train/id10280#NXjT3732Ekg#001093#001192.mp4/{n:07}.png" for n in range(3)]],
        [("id10283", "test"), ("id10280", "train")],
    ),
    "TED-talks": (
        ["test/BMN6xQ3MzXo#000340#000500.mp4", "train/-MN6xQ3Mz_o#000000#000128.mp4"],
        [("BMN6xQ3MzXo", "test"), ("-MN6xQ3Mz_o", "train")],
    ),
    "HDTF": (
        ["RD_Radio18_000.mp4", "WDA_JaneDoe1_002_cfr25.mp4", "WRA_JohnDoe_000.mp4"],
        [("RD_Radio18", "train"), ("JaneDoe", "train"), ("JohnDoe", "train")],
    ),
    "CelebV": (
        ["-0PlfpXUbBY_0_1.mp4", "-0PlfpXUbBY_3.mp4", "M2Ohb0FAaJU_1.mp4"],
        [("-0PlfpXUbBY", "train"), ("-0PlfpXUbBY", "train"), ("M2Ohb0FAaJU", "train")],
    ),
    "person#clip": (["anna#1.mp4", "ben#1.webm"], [("anna", "train"), ("ben", "train")]),
    "a folder per person": (
        ["test/cara/x.gif", "train/anna/1.mp4", "train/anna/2.MKV", "train/ben/1.mov"],
        [("cara", "test"), ("anna", "train"), ("anna", "train"), ("ben", "train")],
    ),
    "loose clips": (
        ["all/a.mp4", "all/b.avi", "all/.c.mp4", "all/notes.txt", "frames/0.jpg", "frames/1.jpg", ".cache/d.mp4"],
        [("a", "train"), ("b", "train"), ("frames", "train")],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_is_recognised(name, tmp_path):
    "Each way to arrange clips is named, and people and splits are read off it."
    files, expected = LAYOUTS[name]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    listing = list_folder(tmp_path)
    assert listing.layout.name == name
    assert [(clip.person, clip.split) for clip in listing.clips] == expected
    assert find_clips(tmp_path, "all") == listing.clips


def test_one_stray_file_undoes_nothing(tmp_path):
    for n in range(12):
        (tmp_path / f"id{10001 + n}" / "video").mkdir(parents=True)
        (tmp_path / f"id{10001 + n}" / "video" / "1.mp4").touch()
    (tmp_path / "readme.mp4").touch()
    listing = list_folder(tmp_path)
    assert listing.layout.name == "VoxCeleb1" and listing.clips[-1].person == "readme"


def test_no_clips_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="holds no train clips"):
        find_clips(tmp_path)
    with pytest.raises(UserError, match="no split 'dev'"):
        find_clips(tmp_path, "dev")
    (tmp_path / "MANIFEST.json").write_text("[]")
    with pytest.raises(UserError, match="mend or remove it"):
        find_clips(tmp_path)


# ---- faults


def damaged(path):
    "A long video with noise in its middle, whose header and index are whole."
    content = bytearray(video_file(path, 40, width=128, height=128).read_bytes())
    start = content.index(b"mdat") + 4
    content[start + 1000 : start + 1400] = bytes(400)
    path.write_bytes(content)


def heap(path):
    "A folder of pictures that have nothing to do with each other."
    path.mkdir()
    people = faces.sample_people(6, generator=torch.Generator().manual_seed(1))
    for n, image in enumerate(to_bytes(faces.render(people, 64).image)):
        (path / f"{n}.png").write_bytes(as_bytes(Image.fromarray(image.permute(1, 2, 0).numpy()), "PNG"))


def folder_of(sizes):
    def make(path):
        path.mkdir()
        for n, size in enumerate(sizes):
            (path / f"{n:02}.png").write_bytes(as_bytes(picture(*size), "PNG"))

    return make


def cut_off(path):
    whole = video_file(path, 40).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def bad_frame(path):
    folder_of([(64, 64)] * 20)(path)
    (path / "00.png").write_bytes(b"not a picture")


FAULTS = {  # kind -> file name, how to make it
    "empty": ("a.mp4", lambda path: path.touch()),
    "unreadable": ("a.webm", lambda path: path.write_text("<html>not found</html>")),
    "cut off": ("a.mp4", cut_off),
    "still": ("a.mp4", lambda path: video_file(path, 1)),
    "short": ("a.mp4", lambda path: video_file(path, 5)),
    "small": ("a.mp4", lambda path: video_file(path, 20, width=48, height=48)),
    "not square": ("a.mp4", lambda path: video_file(path, 20, width=96)),
    "static": ("a.mp4", lambda path: write_video(path, torch.full((20, 3, 64, 64), 0.5), 25)),
    "wrong suffix": ("a.avi", lambda path: video_file(path.with_suffix(".mp4"), 20).rename(path)),
    "no video": ("a", heap),
    "mixed sizes": ("a", folder_of([(64, 64)] * 10 + [(80, 80)] * 10)),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_fault_is_found(kind, tmp_path):
    "Each fault is called by its name, in a glance and in the report, and nothing stops."
    name, make = FAULTS[kind]
    make(tmp_path / name)
    assert kind in [found for found, _ in glance(tmp_path / name).faults]
    video_file(tmp_path / "good.mp4", 20)
    report = check_data(tmp_path)
    assert kind in [fault.kind for fault in report.faults if fault.where == name]
    assert report.checked == 2 and kind in str(report)
    assert glance(tmp_path / "good.mp4").faults == ()


def test_damage_never_raises(tmp_path):
    damaged(tmp_path / "a.mp4")
    bad_frame(tmp_path / "frames")
    kinds = [fault.kind for fault in check_data(tmp_path).faults if fault.where == "frames"]
    assert kinds == ["unreadable"]


def test_report(tmp_path):
    "Leaks, duplicates, missing and misnamed files, counts, sizes; the same with threads; short; as json."
    for n, name in enumerate(("train/anna/1.mp4", "train/ben/1.mp4", "test/anna/2.mp4")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        video_file(tmp_path / name, 30 + n, fps=20)
    (tmp_path / "train/ben/copy.mp4").write_bytes((tmp_path / "train/ben/1.mp4").read_bytes())
    (tmp_path / "train/ben/video.bin").write_bytes((tmp_path / "train/ben/1.mp4").read_bytes())
    (tmp_path / "train/ben/portrait.png").write_bytes(as_bytes(picture(), "PNG"))
    done = []
    report = check_data(tmp_path, progress=lambda *pair: done.append(pair))
    assert {(f.kind, f.where) for f in report.faults} == {
        ("leak", "anna"), ("duplicate", "train/ben/copy.mp4"), ("wrong suffix", "train/ben/video.bin"),
    }  # fmt: skip
    assert report.clips == {"train": 3, "test": 1} and report.people == {"train": 2, "test": 1} and report.stills == 1
    assert report.frames == 30 + 31 + 31 + 32 and abs(report.minutes - report.frames / 20 / 60) < 1e-6
    assert report.sizes == {"64 × 64": 4} and report.decoded[64] == report.frames * 3 * 64**2 / 1e6
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)] and check_data(tmp_path, workers=3) == report
    assert json.loads(json.dumps(report.to_dict()))["faults"][0]["advice"]
    entry = {"file": "gone.mp4", "kind": "clip", "split": "train", "identity": "x"}
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"files": [entry]}))
    assert [fault.kind for fault in check_data(tmp_path).faults] == ["missing"]


def test_report_of_everything_is_short(tmp_path):
    "Every fault at once still fits a terminal."
    for n, (name, make) in enumerate(FAULTS.values()):
        make(tmp_path / f"{n}{name}")
    assert len(str(check_data(tmp_path)).splitlines()) <= 30


def test_real_folder():
    "The real clips: all usable, nobody on both sides."
    if not (DATA / "MANIFEST.json").is_file():
        pytest.skip(f"no MANIFEST.json in {DATA.name}; name a folder of real clips in MCNET_DATA")
    clips = [clip.path for clip in find_clips(DATA, "all")]
    assert all(glance(path).faults == () for path in clips[::30])
    assert list_folder(DATA).layout.name == "MANIFEST.json"


# ---- folders from strangers

OUTSIDE = ["/etc/passwd", "../secret.mp4", "a/../../secret.mp4", "..\\secret.mp4"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_outside_a_folder_is_read(tmp_path, name):
    "Neither by a manifest nor by a pair list nor by the index of a shard."
    video_file(tmp_path / "secret.mp4")
    folder = tmp_path / "data"
    folder.mkdir()
    entry = {"file": name, "kind": "clip", "split": "train", "identity": "x"}
    (folder / "MANIFEST.json").write_text(json.dumps({"files": [entry]}))
    with pytest.raises(UserError, match="MANIFEST.json names .*leads out of its folder"):
        list_folder(folder)
    (folder / "pairs.csv").write_text(f"clip,i,j\n{name},0,1\n")
    with pytest.raises(UserError, match="pairs.csv names .*leads out"):
        read_pair_list(folder / "pairs.csv")
    with pytest.raises(UserError, match="pair list names .*leads out"):
        ListedPairs([PairRow(name, 0, 1)], folder, 64, 1)
    with tarfile.open(folder / "s.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(f"{name}.00.jpg"))
    with pytest.raises(UserError, match="s.tar names .*leads out"):
        shard_index(folder / "s.tar")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, None])
def test_shards_hold_their_pictures_themselves(tmp_path, kind):
    "A link or a device in one is named, and one without any file is not called faultless."
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for number in range(2) if kind else ():
            entry = tarfile.TarInfo(f"0.0{number}.jpg")
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry)
    said = "names 0.00.jpg, a link or a device" if kind else "no files in this shard"
    assert f"s.tar ({said})" in str(check_data(tmp_path))
    with pytest.raises(UserError, match="there is no sample to learn from" + f".*{said}" * bool(kind)):
        ShardPairs(tmp_path, 64, 2)


def test_check_data_goes_on(tmp_path):
    "A pipe, a broken link, a file that may not be read: each is named, nothing is waited for, nothing ends the report."
    video_file(tmp_path / "good.mp4", 20)
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "pipe.dat")
    (tmp_path / "lost.mp4").symlink_to("gone.mp4")
    (tmp_path / "lost.bin").symlink_to("gone.bin")
    (tmp_path / "frames").mkdir()
    for n in range(3):
        picture(64, 64).save(tmp_path / "frames" / f"{n}.png")
    os.mkfifo(tmp_path / "frames" / "3.png")
    report = check_data(tmp_path)
    assert {(fault.kind, fault.where) for fault in report.faults} == {
        ("unreadable", "pipe.mp4"), ("unreadable", "pipe.dat"), ("missing", "lost.mp4"), ("unreadable", "frames"),
    }  # fmt: skip
    assert report.usable == 1 and sum("named pipe" in fault.detail for fault in report.faults) == 3


@pytest.mark.parametrize("about", [[], None, 3, {"person": ["a", "b"]}, "{", "[" * 9999])
def test_shard_whose_json_is_odd(tmp_path, about):
    content = about if isinstance(about, str) else json.dumps(about)
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, part in {"0.json": content.encode(), "0.00.jpg": as_bytes(picture(), "JPEG")}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(part)
            tar.addfile(entry, io.BytesIO(part))
    assert [fault.kind for fault in check_data(tmp_path).faults] == ["unreadable"]


@pytest.mark.parametrize("identity", [["anna"], None, 3])
def test_identity_that_is_no_text(tmp_path, identity):
    entry = {"file": "a.mp4", "kind": "clip", "split": "train", "identity": identity}
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"files": [entry]}))
    with pytest.raises(UserError, match="no text; mend it"):
        check_data(tmp_path)


def test_photos_and_sounds_are_no_misnamed_videos(tmp_path):
    "A HEIC photo beside its video is a Live Photo; alone it is a still. An m4a is sound."
    video_file(tmp_path / "IMG_1.MOV", 20)
    for name, brand in {"IMG_1.HEIC": b"heic", "IMG_2.HEIC": b"heic", "memo.m4a": b"M4A "}.items():
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(20))
    report = check_data(tmp_path)
    assert report.faults == () and report.stills == 1 and report.usable == 1


def test_trimmed_by_an_edit_list(tmp_path):
    "A phone trims by a note: the file holds all frames and shows the first two seconds. That is not cut off."
    content = video_file(tmp_path / "whole.mp4", 100, width=128, height=128).read_bytes()
    place = content.index(b"elst") + 12
    scale = int.from_bytes(content[content.index(b"mvhd") + 16 :][:4], "big")
    (tmp_path / "whole.mp4").write_bytes(content[:place] + (2 * scale).to_bytes(4, "big") + content[place + 4 :])
    report = check_data(tmp_path)
    assert report.faults == () and abs(report.frames - 50) <= 2
    assert open_video(tmp_path / "whole.mp4").count == sum(1 for _ in read_frames(tmp_path / "whole.mp4"))


def test_a_folder_of_frames_has_one_order(tmp_path):
    "Natural, hidden files left out: as a video, as a clip for training, in a glance."
    (tmp_path / "f").mkdir()
    for n in range(12):
        Image.new("RGB", (64, 64), (20 * n,) * 3).save(tmp_path / "f" / f"frame{n}.png")
    (tmp_path / "f" / "._frame1.png").write_text("left here by a file manager")
    greys = [round(float(frame[0, 0, 0]) * 255) for frame in open_video(tmp_path / "f").read()]
    assert greys == load_clip(tmp_path / "f", 64)[:, 0, 0, 0].tolist() == [20 * n for n in range(12)]
    assert glance(tmp_path / "f").frames == 12


def test_pair_list_from_excel(tmp_path):
    "UTF-8 with a mark before it, names with brackets, empty lines; what is none says so."
    (tmp_path / "p.csv").write_bytes("clip,i,j\r\n[a] b.mp4,0,5\r\n\r\n".encode("utf-8-sig"))
    assert read_pair_list(tmp_path / "p.csv") == [PairRow("[a] b.mp4", 0, 5)]
    for content in (b"clip,i\na,1\n", b"clip,i,j\na,x,1\n", b"\xff\xfe\0", b"clip,i,j\na.mp4,1\n"):
        (tmp_path / "p.csv").write_bytes(content)
        with pytest.raises(UserError, match="p.csv is not"):
            read_pair_list(tmp_path / "p.csv")


def test_cache_that_is_damaged(tmp_path):
    video_file(tmp_path / "a.mp4")
    first = load_clip(tmp_path / "a.mp4", 64, cache=tmp_path / "cache").clone()
    (stored,) = (tmp_path / "cache").iterdir()
    for content in (b"", b"nothing", stored.read_bytes()[:500]):
        stored.unlink()
        stored.write_bytes(content)
        with pytest.warns(Notice, match="made anew"):
            assert torch.equal(load_clip(tmp_path / "a.mp4", 64, cache=tmp_path / "cache"), first)


def test_cache_for_a_long_name(tmp_path):
    "A name of 250 bytes leaves no room for what the cache adds to it."
    path = video_file(tmp_path / ("ü" * 123 + ".mp4"))
    first = load_clip(path, 64, cache=tmp_path / "cache")
    (stored,) = (tmp_path / "cache").iterdir()
    assert len(os.fsencode(path.name)) == 250 and stored.suffix == ".npy"
    assert torch.equal(load_clip(path, 64, cache=tmp_path / "cache"), first)


def test_an_animated_gif_is_a_clip(tmp_path):
    write_video(tmp_path / "a.gif", torch.rand(20, 3, 64, 64), 25)
    assert load_clip(tmp_path / "a.gif", 64).shape == (20, 3, 64, 64)
    assert glance(tmp_path / "a.gif").frames == 20 and check_data(tmp_path).usable == 1


def test_clips_that_cannot_be_decoded(tmp_path):
    "One sentence that names the file, or a notice beside clips that can be used; and the report says why."
    whole = video_file(tmp_path / "good.mp4", 40, width=128, height=128).read_bytes()
    (tmp_path / "codec.mp4").write_bytes(whole.replace(b"avc1", b"zzzz"))
    with pytest.raises(UserError, match="of 1 clip none can be used.*codec.mp4 is in a codec that nobody here"):
        ClipPairs([tmp_path / "codec.mp4"], 64, 4)
    with pytest.warns(Notice, match="1 of 2 files left out.*codec.mp4 is in a codec"):
        assert ClipPairs(tmp_path, 64, 4, split="all").files == [tmp_path / "good.mp4"]
    ((kind, detail),) = glance(tmp_path / "codec.mp4").faults
    assert kind == "unreadable" and "in a codec that nobody here can decode" in detail
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    assert glance(tmp_path / "cut.mp4").faults == (("cut off", ""),)


def test_ten_thousand_clips(monkeypatch):
    "The table of pairs keeps its size however many clips there are, and a batch is made of it."
    monkeypatch.setattr(pairs_module, "MOST_PAIRS", 200_000)  # 2,000,000 would take a minute of this test
    frames = list(torch.randint(0, 255, (10_000, 2, 3, 16, 16), dtype=torch.uint8))
    pairs = FramePairs(frames, 4, augment=Augment(0, 0))
    assert len(pairs.pairs) == 200_000 and pairs.pairs[:, 0].unique().numel() == 10_000
    assert pairs.batch(3).source.shape == (4, 3, 16, 16)


# ---- prepare

HEIGHT, WIDTH, SIDE, FRAMES = 96, 168, 72, 12


class Truth:
    "A face finder that knows the answers: of the drawn frame that looks most like the given one."

    def __init__(self, signatures, answers, pause=0.0):
        self.signatures, self.answers, self.pause = signatures, answers, pause

    def __call__(self, frame):
        time.sleep(self.pause)
        far = (self.signatures - motion_signature(to_bytes(frame)[None])).abs().mean(1)
        return self.answers[int(far.argmin())]


def knowing(frames, answers):
    "The finder for these frames."
    return Truth(motion_signature(to_bytes(frames)), answers)


def scene(seed, left, wall, side=SIDE):
    "A head in a wide frame, (T, 3, H, W), and the rectangle from its brows to its chin in each frame."
    generator = torch.Generator().manual_seed(seed)
    person, track = faces.sample_people(1, generator=generator), faces.sample_track(FRAMES, generator=generator)
    drawn = faces.render(faces.combine(person, track), side, truth=True)
    frames = torch.tensor(wall).view(3, 1, 1).expand(FRAMES, 3, HEIGHT, WIDTH).clone()
    frames[:, :, HEIGHT - side :, left : left + side] = drawn.image
    points = (drawn.landmarks[..., :2] + 1) / 2 * side + torch.tensor([left, HEIGHT - side])  # (T, 68, 2)
    return frames, [[Face(*p.amin(0).tolist(), *p.amax(0).tolist())] for p in points]


@pytest.fixture(scope="module")
def television(tmp_path_factory):
    "A folder of three videos, made of two scenes and an empty one; the finder that knows who is where."
    folder = tmp_path_factory.mktemp("raw")
    (one, at_one), (two, at_two) = scene(1, 8, [0.2, 0.2, 0.3]), scene(2, 84, [0.8, 0.7, 0.7])
    empty = torch.full((12, 3, HEIGHT, WIDTH), 0.5)
    video_one = torch.cat([one, two, empty])
    write_video(folder / "anna.mp4", video_one, 25)
    write_video(folder / "ben.mp4", torch.cat([two, one[:5]]), 25)
    (folder / "cut.mp4").write_bytes((folder / "ben.mp4").read_bytes()[:2000])
    write_video(folder / "dora.mp4", two, 25)
    return folder, knowing(video_one, [*at_one, *at_two, *[[] for _ in empty]])


OPTIONS = {"size": 64, "min_frames": 10, "min_face": 16}


@pytest.fixture(scope="module")
def prepared(television, tmp_path_factory):
    "What an undisturbed run makes of it."
    out = tmp_path_factory.mktemp("prepared")
    return out, prepare_clips(television[0], out, finder=television[1], **OPTIONS)


def contents(out):
    "Every visible file of a folder."
    files = sorted(path for path in out.rglob("*") if path.is_file() and ".done" not in path.parts)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def test_prepare(prepared, television):
    "Scenes come apart, each with a fixed square around the face; the rest is dropped with its reason."
    out, report = prepared
    entries = json.loads((out / "MANIFEST.json").read_text())["files"]
    assert [(e["file"], e["first_frame"], e["frames"]) for e in entries] == [
        ("clips/anna-000.mp4", 0, FRAMES), ("clips/anna-001.mp4", FRAMES, FRAMES),
        ("clips/ben-000.mp4", 0, FRAMES), ("clips/dora-000.mp4", 0, FRAMES),
    ]  # fmt: skip
    assert report.dropped == {"no face": 1, "too short": 1, "cannot be read": 1} and "cut.mp4" in str(report)
    assert {clip.person for clip in find_clips(out, "all")} == {"anna", "ben", "dora"}
    for entry, left in zip(entries, (8, 84, 84, 84)):
        middle = entry["box"][0] + entry["box"][2] / 2
        assert left + 0.25 * SIDE < middle < left + 0.75 * SIDE
        clip = torch.stack(list(read_frames(out / entry["file"])))
        assert clip.shape == (FRAMES, 3, 64, 64) and glance(out / entry["file"]).faults == (("short", "12 frames"),)
    assert len(motion_signature(clip)) == FRAMES and find_cuts(motion_signature(clip)) == []


def test_prepare_again_does_nothing(prepared, television):
    out, _ = prepared
    before = contents(out)
    again = prepare_clips(television[0], out, finder=lambda frame: 1 / 0, **OPTIONS)
    assert again.done_before == 4 and contents(out) == before


SCRIPT = """
import pickle, sys, time
from mcnet.data.glance import motion_signature
from mcnet.media.pictures import to_bytes
from mcnet.data.prepare import prepare_clips

{truth}

if __name__ == "__main__":
    with open(sys.argv[3], "rb") as file:
        signatures, answers, options = pickle.load(file)
    finder = Truth(signatures, answers, pause=0.3)
    prepare_clips(sys.argv[1], sys.argv[2], finder=finder, workers=2, **options)
"""


def test_killed_and_resumed(prepared, television, tmp_path):
    "kill -9 in the middle of a run in two processes: no half clip, nobody left alive, and the same result at the end."
    folder, finder = television
    out, script, options = tmp_path / "out", tmp_path / "script.py", tmp_path / "options.pickle"
    script.write_text(SCRIPT.format(truth=inspect.getsource(Truth)))
    options.write_bytes(pickle.dumps((finder.signatures, finder.answers, OPTIONS)))
    command = [sys.executable, script, folder, out, options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, start_new_session=True, env=environment, stderr=subprocess.PIPE) as process:
        for _ in range(1200):
            time.sleep(0.05)
            if list(out.glob("clips/*.mp4")) or process.poll() is not None:
                break
        assert process.poll() is None, process.stderr.read().decode()
        process.send_signal(signal.SIGKILL)
    assert not (out / "MANIFEST.json").exists()
    assert all(len(list(read_frames(path))) == FRAMES for path in out.glob("clips/*.mp4"))
    for _ in range(100):  # the workers notice that their parent is gone
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError("a worker outlives its parent")
    report = prepare_clips(folder, out, finder=finder, **OPTIONS)
    assert contents(out) == contents(prepared[0]) and report.done_before < 4
    assert not list(out.glob("clips/.*"))


def test_prepare_options(television, tmp_path):
    "Everybody in the frame, fewer frames a second, settings that change what is done, finders that cannot travel."
    folder, _ = television
    two, answers = scene(2, 84, [0.8, 0.7, 0.7])
    one, others = scene(1, 8, [0.2, 0.2, 0.3])
    two[:, :, :, :84] = one[:, :, :, :84]
    raw = tmp_path / "raw"
    raw.mkdir()
    write_video(raw / "pair.mp4", two, 25)
    finder = knowing(two, [a + b for a, b in zip(answers, others)])
    report = prepare_clips(raw, tmp_path / "out", finder=finder, people="all", fps=10, **OPTIONS)
    entries = json.loads((tmp_path / "out" / "MANIFEST.json").read_text())["files"]
    assert len(entries) == 2 and entries[0]["box"][0] > 60 > entries[1]["box"][0]
    assert report.frames == 2 * 5 and glance(tmp_path / "out" / entries[0]["file"]).fps == 10  # 0, 2.5, 5 … of 12
    big = prepare_clips(raw, tmp_path / "out", finder=finder, size=64, min_frames=10, min_face=500)
    assert big.dropped == {"face too small": 1} and big.done_before == 0
    blurred = torch.nn.functional.interpolate(two, scale_factor=1 / 4, mode="area")
    write_video(raw / "pair.mp4", torch.nn.functional.interpolate(blurred, scale_factor=4, mode="bilinear"), 25)
    assert prepare_clips(raw, tmp_path / "out", finder=finder, **OPTIONS).dropped == {"face blurred": 1}
    with pytest.raises(UserError, match="use workers=1"):
        prepare_clips(raw, tmp_path / "out", finder=lambda frame: [], workers=2)
    with pytest.raises(UserError, match="no face finder"):
        prepare_clips(raw, tmp_path / "out", finder=None)
    with pytest.raises(UserError, match="holds no videos"):
        prepare_clips(tmp_path / "out" / ".done", tmp_path / "out", finder=finder)


def test_prepare_loses_nothing(television, tmp_path):
    "Inputs are never written, hidden files of others stay, a damaged record is made again."
    folder, finder = television
    (tmp_path / "d" / "clips").mkdir(parents=True)
    for path in folder.iterdir():
        (tmp_path / "d" / "clips" / path.name).write_bytes(path.read_bytes())
    before = contents(tmp_path)
    with pytest.raises(UserError, match="never overwritten"):
        prepare_clips(tmp_path / "d" / "clips", tmp_path / "d", finder=finder, **OPTIONS)
    (tmp_path / "link").symlink_to(tmp_path / "d")
    with pytest.raises(UserError, match="never overwritten"):
        prepare_clips(tmp_path / "d" / "clips", tmp_path / "link", finder=finder, **OPTIONS)
    (tmp_path / "link").unlink()
    entry = {"file": "clips/dora.mp4", "kind": "clip", "split": "train", "identity": "dora"}
    (tmp_path / "d" / "MANIFEST.json").write_text(json.dumps({"files": [entry]}))
    with pytest.raises(UserError, match="never overwritten"):
        prepare_clips(tmp_path / "d", tmp_path / "d", finder=finder, **OPTIONS)
    assert contents(tmp_path).items() > before.items()
    out = tmp_path / "out"
    for place in ("clips/.mine", ".done/.mine"):
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).write_text("a user's")
    for broken in ("", "[]", "{}", '{"state": 3}'):
        for record in (out / ".done").glob("*.json"):
            record.write_text(broken)
        report = prepare_clips(tmp_path / "d", out, finder=finder, **OPTIONS)
        assert report.videos == 1 and report.done_before == 0 and report.clips == {"train": 1}
        assert (out / "clips/.mine").exists() and (out / ".done/.mine").exists()
    for wrong in (float("nan"), 0, 1e9):
        with pytest.raises(UserError, match="fps is"):
            prepare_clips(tmp_path / "d", out, finder=finder, fps=wrong)


def test_split_by_identity():
    "Where the folder says nothing, the name decides, and keeps deciding when more people come."
    few, many = ([ClipFile(Path(), f"p{n}", "train") for n in range(count)] for count in (300, 600))
    first, then = _splits(few, 0.1), _splits(many, 0.1)
    assert all(then[person] == split for person, split in first.items())
    assert 15 < sum(split == "test" for split in first.values()) < 50
    told = [ClipFile(Path(), "anna", "test"), ClipFile(Path(), "ben", "train")]
    assert _splits(told, 1.0) == {"anna": "test", "ben": "train"}


# ---- pairs


def test_both_frames_get_the_same_change():
    "Equal frames stay equal under every recipe, whatever the dice say; different pairs get different changes."
    pictures = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for recipe in (OURS, AS_RELEASE, Augment(flip=1.0, strength=0)):
        changed, mirrored = recipe(pictures.repeat(2, 1, 1, 1), torch.Generator().manual_seed(1))
        assert torch.equal(changed[:6], changed[6:]) and not torch.equal(changed[:6], pictures)
    generator = torch.Generator().manual_seed(0)
    shares = [r(torch.zeros(8000, 3, 1, 1), generator)[1].float().mean() for r in (OURS._replace(strength=0),)]
    assert abs(shares[0] - 0.5) < 0.03 and AS_RELEASE.flip == 0.25


def test_focus_is_mirrored_with_the_picture(tmp_path):
    "The points of a mirrored pair lie where the mirrored picture has them."
    video_file(tmp_path / "a.mp4", 9)  # a bright disc that goes to the right

    def brightest(images):
        "The middle of the disc, 68 times."
        grid = torch.linspace(-1, 1, images.shape[-1])
        disc = (images[:, 0] > 0.5).float()  # (T, H, W)
        x = (disc.sum(1) * grid).sum(1) / disc.sum((1, 2))
        return torch.stack([x, torch.zeros_like(x)], dim=-1)[:, None].expand(-1, 68, -1)

    pairs = ClipPairs(tmp_path, 64, 16, landmarks=brightest, augment=Augment(strength=0), cache=tmp_path / "cache")
    pair = pairs.batch(0)
    green = pair.driving[:, 1, 32]  # grows to the right, unless mirrored
    mirrored = green[:, -1] < green[:, 0]
    assert 0 < mirrored.sum() < 16
    assert torch.allclose(pair.focus, brightest(pair.driving)[:, :32], atol=0.02)


def test_pairs_come_in_both_orders(tmp_path):
    "Why reversing time needs no code: a pair and its reverse are equally likely."
    video_file(tmp_path / "a.mp4", 12)
    rows = ClipPairs(tmp_path, 64, 4).pairs
    assert 0.45 < (rows[:, 1] < rows[:, 2]).float().mean() < 0.55


# ---- shards


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    "Eleven clips."
    folder = tmp_path_factory.mktemp("clips")
    for n in range(11):
        video_file(folder / f"person{n:02}.mp4", 6 + n, width=64 + 2 * n, height=64 + 2 * n)
    return folder


@pytest.fixture(scope="module")
def shards(clips, tmp_path_factory):
    "The clips in three shards."
    return write_shards(clips, tmp_path_factory.mktemp("shards"), 64, frames=5, per_shard=4)


def test_shards_hold_what_they_should(shards):
    "Names as webdataset wants them, the person in the json, frames as in the video."
    assert [len(shard_index(path)) for path in shards] == [4, 4, 3]
    with tarfile.open(shards[0]) as tar:
        assert tar.getnames()[:6] == ["000000.json", *[f"000000.{n:02}.jpg" for n in range(5)]]
        about = json.load(tar.extractfile("000000.json"))
    assert about["person"] + ".mp4" == about["clip"] and len(about["frames"]) == 5
    report = check_data(shards[0].parent)
    assert report.layout == "webdataset shards" and report.usable == 11 and report.people == {"train": 11}
    assert report.frames == 55 and report.sizes == {"64 × 64": 11}
    with pytest.raises(UserError, match="ShardPairs"):
        find_clips(shards[0].parent)


def test_shards_are_the_same_again(clips, shards, tmp_path):
    again = write_shards(find_clips(clips), tmp_path, 64, frames=5, per_shard=4)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in shards]


@pytest.mark.parametrize("world, batch_size", [(1, 4), (2, 3), (3, 2), (4, 4)])
def test_ranks_share_every_epoch(shards, world, batch_size):
    "Over all ranks every sample comes once an epoch, however odd the numbers; every rank has equally many batches."
    ranks = [ShardPairs(shards, 64, batch_size, rank=rank, world=world, seed=5) for rank in range(world)]
    row = {}
    for rank, pairs in enumerate(ranks):
        for number in range(11):
            for n, sample in enumerate(pairs.chosen(number)):
                assert row.setdefault((number * batch_size + n) * world + rank, sample) is sample
    epochs = [[row[place] for place in range(11 * e, 11 * e + 11)] for e in range(len(row) // 11)]
    assert len(epochs) == world * batch_size and all(sorted(epoch) == list(range(11)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_batches_are_known_by_their_number(shards):
    pairs = ShardPairs(shards, 64, 4, seed=1)
    later = iter(ShardPairs(shards, 64, 4, seed=1, start=3))
    for number in (3, 4):
        resumed, direct = next(later), pairs.batch(number)
        assert torch.equal(resumed.source, direct.source) and torch.equal(resumed.driving, direct.driving)
    other = ShardPairs(shards, 64, 4, seed=2)
    assert not torch.equal(other.batch(3).source, pairs.batch(3).source)
    assert direct.source.shape == (4, 3, 64, 64) and not torch.equal(direct.source, direct.driving)


def test_workers_change_nothing(shards):
    "A DataLoader with two workers gives the batches in their order."
    pairs = ShardPairs(shards, 64, 4, seed=1, start=2)
    loader = iter(torch.utils.data.DataLoader(pairs, batch_size=None, num_workers=2))
    for number in range(2, 7):
        made, direct = next(loader), pairs.batch(number)
        assert torch.equal(made.source, direct.source) and torch.equal(made.driving, direct.driving)


def test_damaged_shards_and_pictures(shards, tmp_path):
    "A cut shard is left out with a notice; a damaged picture is replaced by another sample and counted."
    (tmp_path / "a.tar").write_bytes(shards[0].read_bytes()[:700])
    content = bytearray(shards[1].read_bytes())
    first, length = shard_index(shards[1])["000004"]["00.jpg"]
    for key, parts in shard_index(shards[1]).items():
        for ext, (start, count) in parts.items():
            if key == "000004" and ext != "json":
                content[start : start + count] = bytes(count)
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.warns(Notice, match="1 of 2 files left out"):
        pairs = ShardPairs(tmp_path, 64, 4)
    assert len(pairs.samples) == 4 and pairs.batch(0).source.shape == (4, 3, 64, 64)
    assert [path.name for path in pairs.skipped] == ["a.tar", "000004"]
    assert {fault.kind for fault in check_data(tmp_path).faults} == {"unreadable"}
    with pytest.raises(UserError, match="make shards with write_shards"):
        ShardPairs([], 64, 4)


def test_bad_clips_are_left_out_of_shards(tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    video_file(tmp_path / "good.mp4", 6)
    with pytest.warns(Notice, match="1 of 2 files left out"):
        made = write_shards(tmp_path, tmp_path / "out", 64)
    assert list(shard_index(made[0]).values())[0].keys() >= {"json", "00.jpg", "05.jpg"}


def test_spread_frames():
    "Half even, half as different as can be: the one odd frame is always among them."
    signatures = torch.zeros(50, 4)
    signatures[37] = 1.0
    assert 37 in spread_frames(signatures, 4) and spread_frames(signatures[:3], 8) == [0, 1, 2]
    assert len(set(spread_frames(torch.zeros(50, 4), 6))) == 6


def test_webdataset_reads_our_shards(shards):
    "The library whose naming we follow finds the same samples."
    webdataset = pytest.importorskip("webdataset", reason="pip install webdataset to see that it reads our shards")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(webdataset.WebDataset([str(path) for path in shards], shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{n:06}" for n in range(11)]
    assert all(sample["00.jpg"][:2] == b"\xff\xd8" and json.loads(sample["json"])["person"] for sample in samples)
    assert io.BytesIO(samples[0]["04.jpg"]).read(2) == b"\xff\xd8"


def test_clip_and_shard_hold_the_same_pictures(clips, shards):
    "A frame from a shard is the video's frame, but for what jpg loses."
    with tarfile.open(shards[0]) as tar:
        about = json.load(tar.extractfile("000000.json"))
    frames = load_clip(clips / about["clip"], 64)[about["frames"]].float() / 255
    pair = ShardPairs(shards, 64, 11, augment=Augment(0, 0)).batch(0)
    errors = (pair.source[:, None] - frames[None]).abs().mean((2, 3, 4)).amin(1)
    assert errors.min() < 0.02
