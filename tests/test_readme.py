"What the README promises: its commands exist, its snippets run."

import re
import shlex
import sys

import pytest
import torch
from repository import ROOT, run, script

from mcnet.heads import faces
from mcnet.media.pictures import write_image
from mcnet.media.video import write_video

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)
LINES = [
    line for kind, block in BLOCKS if kind == "bash" for line in re.sub(r"\\\n\s*", "", block).splitlines() if line
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "A folder with the two files that the README's lines name."
    place, generator = tmp_path_factory.mktemp("readme"), torch.Generator().manual_seed(3)
    person = faces.sample_people(1, generator=generator)
    clip = faces.render_clip(person, faces.sample_track(6, generator=generator), 64)
    write_video(place / "performance.mp4", clip, fps=25)
    write_image(place / "portrait.png", clip[0])
    return place


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_make_targets_exist(line):
    "make knows the target."
    assert run("make", "--dry-run", *shlex.split(line, comments=True)[1:]).returncode == 0


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("mcnet ")])
def test_commands_run(line, folder):
    "The line works as it stands, in a folder that holds portrait.png and performance.mp4."
    done = run(script("mcnet"), *shlex.split(line, comments=True)[1:], cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in re.findall(r"--out (\S+\.\w+)", line):
        assert (folder / word).stat().st_size > 1000


def test_no_other_commands():
    "Every line of a bash block is of a kind that is tested here, or sets something up."
    assert all(line.split()[0] in ("make", "mcnet", "git", "cd", "pip") for line in LINES)


def test_python_snippets_run(folder):
    "The Python blocks run one after the other, as a reader would paste them."
    code = "\n".join(block for kind, block in BLOCKS if kind == "python")
    done = run(sys.executable, "-c", code, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_promises():
    "The two commands stand there, and continuous integration calls the second."
    assert {"make demo", "make test"} <= {line.split("  ")[0].strip() for line in LINES}
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
