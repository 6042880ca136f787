"The doors: what comes in is what it says and lies where it may, what goes out is whole; no input is ever lost."

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mcnet.core import Config, Notice, UserError, printable
from mcnet.doors import (
    as_path,
    atomic_folder,
    atomic_path,
    check_output,
    explain,
    file_kind,
    input_file,
    inside_folder,
    output_folder,
    read_json,
    remove_leftovers,
)
from mcnet.weightfile import load_weights, save_weights


def ours(folder):
    "Temporary files of ours."
    return list(folder.glob(".mcnet-*"))


# ---- in


@pytest.mark.parametrize("name", [None, b"a.png", 3, "", "a\0b", "a" * 5000, "b" * 300, "\ud912.png", ["a"]])
def test_what_is_no_name(name):
    with pytest.raises(UserError) as caught:
        input_file(name, "a picture")
    assert len(str(caught.value)) < 200 and str(caught.value).encode()


def test_a_name_that_is_no_utf8_can_be_told(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    with pytest.raises(UserError, match=r"caf\\xe9.mp4 does not exist") as caught:
        input_file(path)
    assert str(caught.value).encode() and str(Notice(path)) == printable(str(path))


def test_irregular_files_are_never_opened(tmp_path, monkeypatch):
    "A pipe, a socket, a device, a folder, a link to nothing, a file in a file: named at once."
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)
        server.bind("socket")
    (tmp_path / "lost").symlink_to("gone")
    (tmp_path / "file").touch()
    wanted = {"pipe": "a named pipe", "socket": "a socket", "/dev/null": "a device", ".": "a folder"}
    wanted |= {"file/x": "not exist", "lost": "a link to gone"}
    for name, words in wanted.items():
        with pytest.raises(UserError, match=words):
            input_file(tmp_path / name, "a video")
    assert input_file(tmp_path / "file") == tmp_path / "file"


@pytest.mark.parametrize("name", ["/etc/x", "..", "../a", "a/../../b", "..\\a", "c:/a", "\\\\host\\a", 7, None])
def test_a_list_stays_in_its_folder(name):
    with pytest.raises(UserError, match="list.csv"):
        inside_folder("data", name, "list.csv")
    for fine in ("a.mp4", "b/c.mp4", "..a", "a..b/c", "12:30.mp4", "[x] #1.mp4"):
        assert inside_folder("data", fine, "list.csv") == Path("data") / fine


def test_a_link_does_not_lead_out_of_a_list(tmp_path):
    "A link to a file beside it is fine, and so is a folder that is a link itself."
    for folder in ("data", "secret"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").touch()
    for name, target in {"data/in.mp4": "a.mp4", "data/out.mp4": "../secret/a.mp4", "data/dir": "../secret"}.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "link").symlink_to("data")
    for folder in (tmp_path / "data", tmp_path / "link"):
        assert inside_folder(folder, "in.mp4", "list.csv") == folder / "in.mp4"
        for name in ("out.mp4", "dir/a.mp4", "dir"):
            with pytest.raises(UserError, match=f"list.csv names {name}, which leads out of its folder"):
                inside_folder(folder, name, "list.csv")


def test_json_of_another_kind(tmp_path):
    for text, words in {"[1]": "must hold", "null": "must hold", "{": "broken", "[" * 10**5: "broken"}.items():
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(UserError, match=words):
            read_json(tmp_path / "r.json", dict, "a registry")
    (tmp_path / "r.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(UserError, match="not UTF-8"):
        read_json(tmp_path / "r.json", dict)


def test_kinds_of_files():
    assert file_kind(b"\0\0\0\x18ftypM4A ").group == "sound" and "HEIC" in file_kind(b"\0\0\0\x18ftypmif1").words
    assert file_kind(b"RIFF\0\0\0\0WAVEfmt ").group == "sound" and file_kind(b"RIFF\0\0\0\0AVI LIST").group == "video"
    assert file_kind(b"").words == "an empty file" and file_kind(b"\xfe\x01\x02") == ("", "")
    assert file_kind(b"  <HTML><head>").words.startswith("a saved web page")


def test_half_a_file_is_called_so(tmp_path):
    (tmp_path / "half.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50))
    assert "damaged or cut off" in explain(tmp_path / "half.jpg", "a picture", "give a png")
    assert "a jpg picture, not a video" in explain(tmp_path / "half.jpg", "a video", "give an mp4")


# ---- out


def test_the_umask_is_respected(tmp_path):
    "Rights are the user's: from the umask for a new file, as they were for one that is replaced."
    before = os.umask(0o077)
    try:
        for path in (tmp_path / "new", tmp_path / "old"):
            with atomic_path(path):
                pass
            path.chmod(0o664) if path.name == "old" else None
        with atomic_path(tmp_path / "old"), atomic_folder(tmp_path / "frames"):
            pass
    finally:
        os.umask(before)
    assert [(tmp_path / n).stat().st_mode & 0o777 for n in ("new", "old", "frames")] == [0o600, 0o664, 0o700]


def test_a_name_of_250_bytes(tmp_path):
    with atomic_path(tmp_path / ("ä" * 123 + ".mp4")) as temporary:
        assert temporary.suffix == ".mp4"
    with pytest.raises(UserError, match="longer than any"):
        check_output(tmp_path / ("x" * 300))


def test_inputs_are_never_written(tmp_path):
    source = tmp_path / "in.mp4"
    source.write_bytes(b"a video")
    (tmp_path / "link").symlink_to(source)
    os.link(source, tmp_path / "hard")
    for name in ("in.mp4", "link", "hard", "./x/../in.mp4"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="never overwritten"):
            check_output(tmp_path / name, [None, torch.zeros(1), source])
    assert check_output(tmp_path / "out.mp4", [source])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hard", "in.mp4", "link", "x"]


def test_outputs_that_cannot_be(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    wanted = {"pipe": "a named pipe", ".": "a folder", "no/out": "does not exist", "file/out": "not exist"}
    for name, words in wanted.items():
        for door in (check_output, lambda path: atomic_path(path).__enter__()):
            with pytest.raises(UserError, match=words):
                door(tmp_path / name)
    with pytest.raises(UserError, match="not a folder"):
        output_folder(tmp_path / "file")
    with pytest.raises(UserError, match="there already"), atomic_folder(tmp_path):
        pass


DISK = [OSError(errno.ENOSPC, "no"), OSError(errno.EROFS, "no"), RuntimeError("PytorchStreamWriter failed"),
        ValueError("I/O error: No space left on device (os error 28)")]  # fmt: skip


@pytest.mark.parametrize("error", DISK)
def test_trouble_with_the_disk_is_a_sentence(tmp_path, error):
    with pytest.raises(UserError, match="cannot write .*out"), atomic_path(tmp_path / "out"):
        raise error
    assert not list(tmp_path.iterdir())


def test_other_trouble_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="another"), atomic_path(tmp_path / "out"):
        open(tmp_path / "another")
    (tmp_path / "gone").mkdir()
    with pytest.raises(UserError, match="is gone"), atomic_path(tmp_path / "gone" / "out") as temporary:
        temporary.unlink()
        (tmp_path / "gone").rmdir()
        open(temporary, "wb")


def test_a_full_disk_ends_in_a_sentence(tmp_path):
    "The system refuses more than 100 kB; safetensors and torch both say it in their own way."
    code = f"""
import resource, torch
from mcnet.core import Config, UserError
from mcnet.doors import atomic_path
from mcnet.weightfile import save_weights
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
tensors = {{"x": torch.rand(100_000)}}
for write in (lambda path: save_weights(path, tensors, Config()), lambda path: torch.save(tensors, path)):
    try:
        with atomic_path({str(tmp_path / 'w')!r}) as temporary:
            write(temporary)
    except UserError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert len(re.findall("cannot write .*the disk is full, or a limit", done.stdout)) == 2, done.stderr
    assert not list(tmp_path.iterdir())


WRITER = """
import sys, time
from mcnet.doors import atomic_path, atomic_folder
first, second = atomic_path(sys.argv[1] + "/a.mp4"), atomic_folder(sys.argv[1] + "/b")
first.__enter__(), second.__enter__()
if len(sys.argv) > 2:
    first.__exit__(None, None, None)  # the one that was begun first ends first
print("writing", flush=True)
try:
    time.sleep(60)
finally:
    second.__exit__(*sys.exc_info())
    if len(sys.argv) < 3:
        first.__exit__(*sys.exc_info())
"""


@pytest.mark.parametrize("more", [[], ["one is done"]])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_leaves_nothing(tmp_path, number, more):
    with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, *more], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.send_signal(number)
    assert process.returncode == 128 + number and [p.name for p in tmp_path.iterdir()] == ["a.mp4"] * len(more)


def test_only_our_leftovers_are_removed(tmp_path):
    "Killed without warning: the next run clears up; hidden files of others, and of a run that still works, stay."
    with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.kill()
    assert len(ours(tmp_path)) == 2
    for name in (".mcnet-notes", ".a.mp4-x1", ".secret"):
        (tmp_path / name).touch()
    with atomic_path(tmp_path / "c") as alive:
        remove_leftovers(tmp_path)
        assert alive.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.mp4-x1", ".mcnet-notes", ".secret", "c"]


def test_signals_are_given_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with atomic_path(tmp_path / "a"):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


# ---- weights


def test_weights_that_are_none(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"x": torch.zeros(2)}, Config(), licence="none")
    whole = (tmp_path / "w.safetensors").read_bytes()
    faults = {
        "half": (whole[: len(whole) // 2], "not a complete safetensors file"),
        "page": (b"<!DOCTYPE html><title>Sign in</title>", "a saved web page"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        "config": (whole.replace(b'"config":"{}"', b'"config":"[]"'), "no table of settings"),
        "text": (whole.replace(b'"config":"{}"', b'"config":"{."').replace(b"{.", b"{{"), "no json"),
    }
    for name, (content, words) in faults.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=words):
            load_weights(tmp_path / name)
    assert load_weights(tmp_path / "w.safetensors")[2] == {"licence": "none"}
    assert as_path(str(tmp_path)) == tmp_path
