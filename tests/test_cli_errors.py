"Bad input to the command line: one sentence on stderr, exit code 2, nothing written."

import json
import logging
import os
import sys
import wave

import av
import numpy as np
import pytest
import safetensors.torch
import torch
import typer
from inputs import picture, small_release, tiny_weights, video_file
from repository import run, script

from mcnet.cli import main as cli
from mcnet.memory.network import MCNetConfig
from mcnet.weightfile import save_weights


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    "A folder with one good input of each kind."
    folder = tmp_path_factory.mktemp("good")
    picture().save(folder / "portrait.png")
    video_file(folder / "driving.mp4")
    tiny_weights(folder / "weights.safetensors")
    return folder


def refused(capsys, folder, *arguments):
    "Run `mcnet` with these arguments; give the one sentence it says, having seen that it left nothing behind."
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in arguments])
    said = capsys.readouterr()
    assert left.value.code == 2
    assert said.out == ""
    *notes, sentence = said.err.splitlines()
    assert said.err.endswith("\n") and all(note.startswith("note: ") for note in notes), said.err
    assert "Traceback" not in said.err and "Error:" not in said.err and not sentence.startswith("note: ")
    assert sorted(path.name for path in folder.rglob("*")) == before
    return sentence


@pytest.fixture
def animate(capsys, good, tmp_path):
    "Run `mcnet animate` with good inputs but for those that are given."

    def attempt(*more, **given):
        inputs = {"source": good / "portrait.png", "driving": good / "driving.mp4", "out": tmp_path / "out.mp4"}
        inputs = {**inputs, "weights": good / "weights.safetensors", "device": "cpu", **given}
        words = [word for key, value in inputs.items() for word in (f"--{key}", value)]
        return refused(capsys, tmp_path, "animate", *words, *more)

    return attempt


def zero_frames(path):
    "A valid file with a video track in which nothing is."
    with av.open(str(path), "w", options={"movflags": "empty_moov+default_base_moof"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    return path


def sound(path):
    "A second of silence."
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", "NONE"))
        file.writeframes(bytes(16000))
    return path


def test_missing_files(animate, tmp_path):
    assert "nobody.png does not exist" in animate(source=tmp_path / "nobody.png")
    assert "nothing.mp4 does not exist" in animate(driving=tmp_path / "nothing.mp4")
    assert "holds no file that can be used" in animate(source=tmp_path)
    assert "is a folder" in animate(driving=tmp_path)
    assert "longer than any file's name" in animate(source=tmp_path / f"{'x' * 300}.png")


def test_not_a_picture(animate, tmp_path):
    (tmp_path / "text.png").write_text("a thousand words")
    assert "not a picture" in animate(source=tmp_path / "text.png")
    (tmp_path / "empty.jpg").touch()
    assert "not a picture" in animate(source=tmp_path / "empty.jpg")
    cut = picture(300, 300)
    cut.save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    assert "damaged or cut off" in animate(source=tmp_path / "cut.jpg")


@pytest.mark.parametrize("suffix", [".mp4", ".txt", ".py", ".gif"])
def test_not_a_video(animate, tmp_path, suffix):
    (tmp_path / f"text{suffix}").write_text("to be or not to be\n" * 50)
    assert "give an mp4" in animate(driving=tmp_path / f"text{suffix}")


def test_damaged_video(animate, good, tmp_path):
    content = (good / "driving.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    assert "cut.mp4" in animate(driving=tmp_path / "cut.mp4")


def test_no_moving_pictures(animate, tmp_path):
    assert "no frame that can be read" in animate(driving=zero_frames(tmp_path / "zero.mp4"))
    assert "no moving pictures" in animate(driving=sound(tmp_path / "sound.wav"))
    (tmp_path / "empty.mp4").touch()
    assert "empty.mp4" in animate(driving=tmp_path / "empty.mp4")


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "still.gif", "still.mp4"])
def test_still_as_driving(animate, tmp_path, name):
    video_file(tmp_path / name, frames=1) if name.endswith("mp4") else picture().save(tmp_path / name)
    assert "only one frame" in animate(driving=tmp_path / name)


def test_too_small(animate, tmp_path):
    picture(1, 1).save(tmp_path / "dot.png")
    assert "1×1" in animate(source=tmp_path / "dot.png")
    picture(300, 2).save(tmp_path / "line.png")
    assert "300×2" in animate(source=tmp_path / "line.png")
    assert "8×8" in animate(driving=video_file(tmp_path / "small.mp4", width=8, height=8))


def test_unwritable_out(animate, good, tmp_path):
    assert "does not exist" in animate(out=tmp_path / "no" / "such" / "folder" / "out.mp4")
    assert "something.mp4" in animate(out=tmp_path / "out.txt")
    assert "something.mp4" in animate(out=tmp_path)
    (tmp_path / "taken.mp4").mkdir()
    assert "something.mp4" in animate(out=tmp_path / "taken.mp4")
    (tmp_path / "file").touch()
    assert "cannot write" in animate(out=tmp_path / "file" / "out.mp4")
    assert "is an input" in animate(out=good / "driving.mp4")
    assert "does not exist" in animate(out=tmp_path / "no" / "frames")
    assert "longer than any file's name" in animate(out=tmp_path / ("x" * 300))


def test_folder_without_permission(animate, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    try:
        (locked / "probe").touch()
        pytest.skip("this user may write everywhere")
    except PermissionError:
        assert "cannot write" in animate(out=locked / "out.mp4")


def test_unknown_weights(animate, tmp_path):
    assert "no weights called huge" in animate(weights="huge")
    assert "does not exist" in animate(weights=tmp_path / "huge.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 3000, 100_000])
def test_truncated_weights(animate, good, tmp_path, keep):
    (tmp_path / "cut.safetensors").write_bytes((good / "weights.safetensors").read_bytes()[:keep])
    assert "not a complete safetensors file" in animate(weights=tmp_path / "cut.safetensors")


def rewritten(good, out, change):
    "Good weights with another config."
    tensors = safetensors.torch.load_file(good / "weights.safetensors")
    config = MCNetConfig.tiny().to_dict()
    text = change(config) or json.dumps(config)
    safetensors.torch.save_file(tensors, out, {"config": text})
    return out


def test_wrong_config(animate, good, tmp_path):
    path = tmp_path / "wrong.safetensors"
    assert "colour" in animate(weights=rewritten(good, path, lambda c: c.update(colour=1)))
    assert "10" in animate(weights=rewritten(good, path, lambda c: c["motion"].update(num_keypoints=10)))
    assert "shape" in animate(weights=rewritten(good, path, lambda c: c["keypoints"].update(width=8)))
    for text in ("not json", "[]", "7", '{"image_size": "large"}', '{"motion": 3}'):
        assert "wrong.safetensors" in animate(weights=rewritten(good, path, lambda c, text=text: text))
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    assert "no mcnet config" in animate(weights=path)
    save_weights(path, {"x": torch.zeros(1)}, MCNetConfig.tiny())
    assert "lacks" in animate(weights=path)


def test_weights_that_are_not_numbers(animate, good, tmp_path):
    tensors = safetensors.torch.load_file(good / "weights.safetensors")
    tensors = {name: t * np.nan if t.is_floating_point() else t for name, t in tensors.items()}
    save_weights(tmp_path / "nan.safetensors", tensors, MCNetConfig.tiny())
    assert "damaged" in animate(weights=tmp_path / "nan.safetensors")


def test_settings(animate):
    assert "best_frame" in animate("--best-frame", "worst")
    assert "best_frame" in animate("--best-frame", "-1")
    assert "7 frames" in animate("--best-frame", "7")
    assert "device tpu" in animate(device="tpu")
    if not torch.cuda.is_available():
        assert "device cuda" in animate(device="cuda")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--fps", "nan"), ("--fps", "0"), ("--fps", "1e9"), ("--crop", "nan,0,5"), ("--crop", "0,0,-5"), ("--crop", "1,2"),
     ("--driving-crop", "0,0,inf"), ("--best-frame", "²")],
)  # fmt: skip
def test_numbers_that_are_none(animate, option, value):
    "Text that Python takes for a number, and numbers that no picture has."
    assert f"{option.strip('-').replace('-', '_')} is " in animate(option, value)


def test_the_form_is_said(capsys):
    "Two names without options; and a seed that no generator takes."
    with pytest.raises(SystemExit) as left:
        cli.main(["animate", "me.jpg", "talk.mp4"])
    assert left.value.code == 2 and "--source PICTURE --driving VIDEO --out VIDEO" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        cli.main(["train", "--out", "run", "--seed", "9" * 20])
    assert left.value.code == 2 and "--seed" in capsys.readouterr().err


def commands(group, words=()):
    "Every command with its words."
    for name, command in group.commands.items():
        yield from commands(command, (*words, name)) if hasattr(command, "commands") else [((*words, name), command)]


@pytest.mark.parametrize("words", [words for words, _ in commands(typer.main.get_command(cli.app))], ids=" ".join)
def test_help_has_an_example(words, capsys):
    "A line that can be typed; flags take no value; nothing that only some consoles could show."
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    said = capsys.readouterr().out
    assert f"Example: mcnet {' '.join(words)}" in said and said.isascii() and "bool" not in said.lower()


def test_notices_are_said_when_they_arise(capsys, good, tmp_path):
    "Before the error, and each once."
    picture(90, 60).save(tmp_path / "wide.png")
    words = ["--source", tmp_path / "wide.png", "--driving", good / "portrait.png", "--out", tmp_path / "out.mp4"]
    with pytest.raises(SystemExit):
        cli.main(["animate", *map(str, words), "--weights", str(good / "weights.safetensors")])
    *notes, sentence = capsys.readouterr().err.splitlines()
    assert len(notes) == len(set(notes)) == 1 and "wide.png" in notes[0] and "only one frame" in sentence


def test_memory_that_ran_out(capsys, monkeypatch):
    "Not a bug, and not the fault of a file."
    monkeypatch.setattr("mcnet.cli.doctor.examine", lambda timing: torch.empty(2**50))
    with pytest.raises(SystemExit) as left:
        cli.main(["doctor"])
    assert left.value.code == 2 and "memory ran out" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "| true"])
def test_closed_streams(closed):
    "Results do not depend on who listens."
    command = f"'{sys.executable}' -m mcnet weights path tiny {closed}"
    done = run("sh", "-c", command)
    assert "Traceback" not in done.stderr and (done.stdout.strip().endswith("tiny.safetensors") or "true" in closed)


def test_only_our_own_warnings_are_said():
    "Where matplotlib keeps its list of fonts, for a user without a home, is no news."
    logger = logging.getLogger("matplotlib")
    logger.setLevel(logging.NOTSET)
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert not logger.isEnabledFor(logging.WARNING)


def test_console_that_is_not_utf8(good):
    "What it cannot show becomes a question mark, not a traceback."
    done = run(sys.executable, "-m", "mcnet", "weights", "list", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "?" in done.stdout and done.stdout.isascii()


def test_demo(capsys, good, tmp_path):
    assert "no weights called huge" in refused(capsys, tmp_path, "demo", "--out", tmp_path, "--weights", "huge")
    (tmp_path / "file").touch()
    sentence = refused(capsys, tmp_path, "demo", "--out", tmp_path / "file", "--weights", good / "weights.safetensors")
    assert "file" in sentence


def test_train(capsys, tmp_path):
    out = tmp_path / "run"
    assert "how long" in refused(capsys, tmp_path, "train", "--out", out)
    assert "nothing to learn from" in refused(capsys, tmp_path, "train", "--out", out, "--people", 0, "--steps", 1)
    assert "holds no" in refused(capsys, tmp_path, "train", "--out", out, "--steps", 1, "--data", tmp_path)
    gone = refused(capsys, tmp_path, "train", "--out", out, "--steps", 1, "--data", tmp_path / "no")
    assert "does not exist" in gone
    unknown = refused(capsys, tmp_path, "train", "--out", out, "--steps", 1, "--recipe", "secret")
    assert "no recipe called secret" in unknown
    assert "leave --config" in refused(
        capsys, tmp_path, "train", "--out", out, "--steps", 1, "--weights", "tiny", "--config", "small"
    )
    assert "multiple of 8" in refused(capsys, tmp_path, "train", "--out", out, "--steps", 1, "--size", 65)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    "A checkpoint as the authors of MCNet write them, of a very small network; and its two state dicts."
    _, parts = small_release()
    path = tmp_path_factory.mktemp("released") / "theirs.pth.tar"
    torch.save({**parts, "optimizer_generator": {"state": {}}, "epoch": 99}, path)
    return path, parts


def test_convert(capsys, released, tmp_path):
    path, parts = released
    attempt = lambda *words: refused(capsys, tmp_path, "convert", *words)
    out = tmp_path / "out.safetensors"
    assert "nobody.pth.tar does not exist" in attempt(tmp_path / "nobody.pth.tar", out)
    assert "something.safetensors" in attempt(path, tmp_path / "out.pth.tar")
    assert "something.pth.tar" in attempt(path, out, "--to-release")
    assert "does not exist" in attempt(path, tmp_path / "no" / "out.safetensors")
    assert "not a complete safetensors file" in attempt(path, tmp_path / "out.pth.tar", "--to-release")
    (tmp_path / "cut.pth.tar").write_bytes(path.read_bytes()[:5000])
    assert "cut off" in attempt(tmp_path / "cut.pth.tar", out)
    (tmp_path / "words.pth").write_text("to be or not to be")
    assert "not a checkpoint" in attempt(tmp_path / "words.pth", out)
    assert "also the input" in attempt(path, path, "--to-release")
    torch.save({"model": {}, "epoch": 3}, tmp_path / "other.pth")
    assert "holds model, epoch" in attempt(tmp_path / "other.pth", out)
    lacking = {name: t for name, t in parts["generator"].items() if name != "final.bias"}
    torch.save({**parts, "generator": lacking}, tmp_path / "lacking.pth")
    sentence = attempt(tmp_path / "lacking.pth", out)
    assert "lacking.pth" in sentence and "| missing | generator.final.bias (3)" in sentence
    torch.save({**parts, "epoch": np.float64(3)}, tmp_path / "strange.pth")
    assert "wants to run numpy" in attempt(tmp_path / "strange.pth", out)


def test_convert_only_what_is_released(capsys, good, tmp_path):
    sentence = refused(capsys, tmp_path, "convert", good / "weights.safetensors", tmp_path / "out.pth", "--to-release")
    assert "assembled as the paper's" in sentence


def test_checkpoint_as_weights(animate, released, tmp_path):
    (tmp_path / "cut.pth.tar").write_bytes(released[0].read_bytes()[:5000])
    assert "cut off" in animate(weights=tmp_path / "cut.pth.tar")
    assert "does not exist" in animate(weights=tmp_path / "nobody.pth.tar")


def test_as_a_program(good, tmp_path):
    "The same through the installed command: nothing that a terminal would show but the sentence."
    words = ["--source", good / "portrait.png", "--driving", good / "portrait.png", "--out", tmp_path / "out.mp4"]
    done = run(script("mcnet"), "animate", *words, "--weights", good / "weights.safetensors")
    *notices, sentence = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr and len(notices) <= 1
    assert "only one frame" in sentence and not list(tmp_path.iterdir())
    done = run(script("mcnet"), "animate", "--colour")
    assert done.returncode == 2 and "--colour" in done.stderr


def test_weights(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MCNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MCNET_OFFLINE", "1")
    monkeypatch.delenv("MCNET_DATA", raising=False)
    attempt = lambda *words: refused(capsys, tmp_path, "weights", *words)
    for command in ("path", "download", "remove"):
        assert "no weights called huge" in attempt(command, "huge")
    assert "mcnet weights download face-landmarker" in attempt("path", "face-landmarker")
    assert "MCNET_OFFLINE forbids connections" in attempt("download", "face-landmarker")
    assert "README" in attempt("path", "mcnet-release") and "README" in attempt("download", "mcnet-release")
    assert "ships with mcnet" in attempt("remove", "tiny")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "face_landmarker_v2_with_blendshapes.task").write_text("of another version")
    assert "giving its path" in attempt("path", "face-landmarker")


def test_a_part_is_no_network(animate):
    assert "is no network" in animate(weights="vgg19")
    assert "no licence is stated" in animate(weights="mcnet-release")


def test_check_data(capsys, tmp_path):
    assert "not a folder" in refused(capsys, tmp_path, "check-data", tmp_path / "nowhere")
    assert "no clips" in refused(capsys, tmp_path, "check-data", tmp_path)
    (tmp_path / "words.mp4").write_text("to be or not to be")
    with pytest.raises(SystemExit) as left:
        cli.main(["check-data", str(tmp_path), "--json"])
    said = capsys.readouterr()
    assert left.value.code == 1 and said.err == ""  # one finding, and it is the whole folder
    assert json.loads(said.out)["usable"] == 0


def test_prepare(capsys, good, tmp_path, monkeypatch):
    nobody = lambda model: lambda frame: []
    monkeypatch.setattr("mcnet.media.finders.pick_finder", lambda model: None)
    assert "mcnet doctor" in refused(capsys, tmp_path, "prepare", good, tmp_path / "out")
    monkeypatch.setattr("mcnet.media.finders.pick_finder", nobody)
    assert "not a folder" in refused(capsys, tmp_path, "prepare", tmp_path / "nowhere", tmp_path / "out")
    assert "choose largest" in refused(capsys, tmp_path, "prepare", good, tmp_path / "out", "--people", "some")
    assert "even number" in refused(capsys, tmp_path, "prepare", good, tmp_path / "out", "--size", 33)


def test_doctor(capsys, monkeypatch):
    "Exit code 1 if something essential is broken, and then it says what, before anything else."
    with pytest.raises(SystemExit) as left:
        cli.main(["doctor", "--no-timing", "--json"])
    assert left.value.code == 0 and json.loads(capsys.readouterr().out)["healthy"]
    monkeypatch.setattr("av.codec.Codec", lambda name, mode: (_ for _ in ()).throw(ValueError(name)))
    with pytest.raises(SystemExit) as left:
        cli.main(["doctor", "--no-timing"])
    said = capsys.readouterr()
    assert left.value.code == 1 and said.err == ""
    assert said.out.startswith("BROKEN: h264 (mp4) cannot be read")


def test_doctor_without_torch():
    "The doctor needs no healthy patient."
    code = "import sys; sys.modules['torch'] = None; from mcnet.cli.main import main; main(['doctor', '--json'])"
    done = run(sys.executable, "-c", code)
    told = json.loads(done.stdout)
    assert done.returncode == 1 and not told["healthy"] and done.stderr == ""
    assert told["troubles"][0]["text"].startswith("torch cannot be imported")
    assert told["facts"]["optional parts"]
