"What `mcnet train` learns from, what it holds out, where it goes on, and what it refuses."

import itertools
import json

import pytest
import torch

from mcnet.animation.weights import find_file
from mcnet.cli.train import train_command
from mcnet.core import Pair, UserError
from mcnet.data import footage as footages
from mcnet.data.augment import Augment
from mcnet.data.layouts import find_clips
from mcnet.data.pairs import FramePairs
from mcnet.data.shards import write_shards
from mcnet.evaluation import experiment
from mcnet.heads.faces import FacePairs
from mcnet.media.pictures import write_image
from mcnet.media.video import write_video

SIZE = 32


def ramp(count, first=0):
    "Frames that tell their number: each 8 brighter than the one before, with a dark stripe that moves."
    frames = torch.stack([torch.full((3, SIZE, SIZE), (first + 8 * n) / 255) for n in range(count)])
    for n, frame in enumerate(frames):
        frame[:, :, n % SIZE] = 0
    return frames


def levels(images):
    "The brightness of pictures, 0 … 255."
    return set((images.amax((1, 2, 3)) * 255).round().long().tolist())


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    "The same 25 frames in every kind of footage."
    home = tmp_path_factory.mktemp("footage")
    for split, first in (("train", 0), ("test", 40)):
        for n, frame in enumerate(ramp(25, first)):
            for folder in (home / "split" / split / "ann" / "1", *([home / "plain" / "ann" / "1"] * (not first))):
                folder.mkdir(parents=True, exist_ok=True)
                write_image(folder / f"{n:02}.png", frame)
    write_video(home / "video.mp4", ramp(25), 25)
    write_shards(find_clips(home / "plain"), home / "shards", SIZE, frames=6)
    (home / "notes.txt").write_text("nothing to see")
    (home / "empty").mkdir()
    return home


def opened(path):
    "Footage in batches of four, without augmentation where that can be had."
    material = footages.open_footage(path, SIZE, 4, 0)
    if isinstance(material.pairs, FramePairs):
        material.pairs.augment = Augment(0, 0)
    return material, next(iter(material.pairs))


def seen(material, batches=40):
    "The brightness of all that is learned from."
    pairs = itertools.islice(material.pairs, batches)
    return set().union(*(levels(torch.cat([pair.source, pair.driving])) for pair in pairs))


def test_drawn_pairs_by_number():
    "Batch n is the n-th of the row, and two processes share the row without a word."
    pairs = FacePairs(2, 4, SIZE, 3, seed=5, truth=True)
    row = list(itertools.islice(pairs, 5))
    equal = lambda one, other: all(a is b is None or torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(equal(pairs.batch(n), pair) for n, pair in enumerate(row))
    assert equal(next(pairs.batches(3)), row[3])
    assert all(equal(*two) for two in zip(row[1::2], pairs.batches(1, every=2), strict=False))
    assert not torch.equal(row[0].driving, row[1].driving)


def test_the_end_of_a_folder_of_clips_is_held_out(footage):
    "Without test clips the last fifth of each clip is never learned from."
    material, pair = opened(footage / "plain")
    assert pair.source.shape == (4, 3, SIZE, SIZE)
    assert levels(material.held.driving) == levels(material.held.source) == {8 * n for n in range(20, 25)}
    assert seen(material) == {8 * n for n in range(20)}
    assert (material.held.source != material.held.driving).any((1, 2, 3)).all()


def test_test_clips_are_held_out(footage):
    "Where a folder has test clips, those are held out, and all of the others is learned from."
    material, _ = opened(footage / "split")
    assert levels(material.held.driving) == {40 + 8 * n for n in range(25)}
    assert seen(material) == {8 * n for n in range(25)}


def test_the_end_of_a_video_is_held_out(footage):
    "A single video is cut in two as well; the codec may be off by a few levels."
    material, _ = opened(footage / "video.mp4")
    assert material.one_video
    assert max(seen(material)) < 8 * 20 - 3 < min(levels(material.held.driving))


def test_shards(footage):
    "Shards are read as they are; nothing is held out."
    for path in (footage / "shards", next((footage / "shards").glob("*.tar"))):
        material, pair = opened(path)
        assert material.held is None and pair.driving.shape == (4, 3, SIZE, SIZE)


def test_short_clips():
    "Too short to be cut in two: learned from as a whole; a video like that is refused."
    assert [len(part) for part in footages.hold_out(ramp(9))] == [9, 0]
    assert footages.opposite_pairs([ramp(1)]) is None


def test_bad_footage(footage, tmp_path):
    "One sentence for each way to go wrong."
    write_video(tmp_path / "short.mp4", ramp(7), 25)
    for path, words in (("nowhere", "does not exist"), ("empty", "no train clips"), ("notes.txt", "notes.txt"),
                        (tmp_path / "short.mp4", "10 are needed")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            footages.open_footage(footage / path, SIZE, 4, 0)


def test_bad_wishes(footage):
    "Combinations that mean nothing are refused."
    wish = {"steps": 1, "minutes": 0, "batch_size": 4}
    for given, words in (({"recipe": "secret"}, "choose paper"), ({"recipe": "guided"}, "--people"),
                         ({"recipe": None, "steps": 0}, "how long")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            experiment.choose_config(given.pop("recipe"), people=0, tuned=False, **wish | given)
    for weights, shape, size, words in (
        ("tiny", "small", None, "leave --config"), (None, "huge", None, "choose tiny"),
        ("nobody", None, None, "no weights called"), (None, None, 65, "multiple of 8"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            experiment.open_network(weights, shape, size)


def test_tuning_is_gentle():
    "From weights: a low rate and frozen norms, unless something else is asked for."
    wish = {"steps": 9, "minutes": 0, "batch_size": 4}
    gentle = experiment.choose_config(None, people=0, tuned=True, learning_rate=None, **wish)
    assert gentle.run.frozen_norms and gentle.schedule.learning_rate < 1e-3 and gentle.recipe == "paper"
    chosen = experiment.choose_config(None, people=9, tuned=True, learning_rate=3e-5, **wish)
    assert chosen.schedule.learning_rate == 3e-5
    assert not experiment.choose_config("paper", people=0, tuned=False, **wish).run.frozen_norms


def test_a_run_goes_on(footage, tmp_path, monkeypatch, capsys):
    "The same line again goes on; json is the only thing on stdout; other settings are refused."
    random = lambda size: Pair(*torch.rand(2, 2, 3, size, size))
    monkeypatch.setattr("mcnet.evaluation.comparison.unseen_people", random)
    line = {"out": tmp_path / "run", "data": footage / "video.mp4", "device": "cpu", "batch_size": 2, "people": 0}
    train_command(**line, weights="tiny-synthetic", steps=1, as_json=True)
    first = json.loads(capsys.readouterr().out)
    assert first["steps"] == 1 and set(first["scores"]) == {"copy", "before", "after"}
    assert list(first["scores"]["after"]) == ["video.mp4, held out", "other people"]
    train_command(**line, weights="tiny-synthetic", steps=2)
    said = capsys.readouterr().out
    assert "after 2 steps" in said and "video.mp4, held out: PSNR" in said and said.count("→") == 6
    with pytest.raises(UserError, match="batch_size = 2"):
        train_command(**line | {"batch_size": 4}, weights="tiny-synthetic", steps=4)
    notes = experiment.open_network(str(tmp_path / "run" / "weights.safetensors"), None, None).notes
    assert notes["licence"] == "Apache-2.0; as your footage allows" and "footage of your own" in notes["data"]


@pytest.mark.parametrize("name", ["run", "run/weights.safetensors", "linked"])
def test_a_run_never_overwrites_what_it_starts_from(footage, tmp_path, monkeypatch, name):
    "By whatever name: the folder of the run, the file in it, a link. Said before anything is drawn or learned."
    out = tmp_path / "run"
    out.mkdir()
    (out / "weights.safetensors").write_bytes(find_file("tiny-synthetic").read_bytes())
    (tmp_path / "linked").symlink_to(out)
    monkeypatch.setattr(experiment, "gather_pairs", lambda *_, **__: pytest.fail("people were drawn"))
    with pytest.raises(UserError, match="starts from and would be overwritten"):
        train_command(out=out, weights=str(tmp_path / name), steps=1, device="cpu")
    with pytest.raises(UserError, match="is an input"):
        train_command(out=footage / "plain", data=footage / "plain", steps=1, device="cpu")


def test_a_bad_folder_is_said_before_people_are_drawn(tmp_path, monkeypatch):
    "Python users are told as soon as those of the command."
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(experiment, "gather_pairs", lambda *_, **__: pytest.fail("people were drawn"))
    with pytest.raises(UserError, match="is a file, not a folder"):
        experiment.run_experiment(tmp_path / "file", steps=1, device="cpu")


def test_a_login_page_does_not_poison_a_run(footage, tmp_path, monkeypatch):
    "Weights that are a web page are refused by name; the same line with the true file works in the same folder."
    random = lambda size: Pair(*torch.rand(2, 2, 3, size, size))
    monkeypatch.setattr("mcnet.evaluation.comparison.unseen_people", random)
    before, page = tmp_path / "before", b"<!DOCTYPE html><html><body>Please log in</body></html>"
    before.mkdir()
    line = {"out": tmp_path / "run", "data": footage / "video.mp4", "device": "cpu", "batch_size": 2, "people": 0}
    for name in ("before", "before/weights.safetensors"):
        (before / "weights.safetensors").write_bytes(page)
        with pytest.raises(UserError, match="web page"):
            train_command(**line, weights=str(tmp_path / name), steps=1)
    (before / "weights.safetensors").write_bytes(find_file("tiny-synthetic").read_bytes())
    train_command(**line, weights=str(before), steps=1)
    assert (tmp_path / "run" / "weights.safetensors").is_file()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(page)
    with pytest.raises(UserError, match="checkpoint.pt"):
        train_command(**line, weights=str(before), steps=2)
    (tmp_path / "run" / "checkpoint.pt").unlink()
    (tmp_path / "run" / "weights.safetensors").unlink()
    train_command(**line, weights=str(before), steps=2)
