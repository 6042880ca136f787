"Networks with codebooks behind the commands: what is asked of MCNet's files can be asked of theirs."

import webbrowser

import pytest
import torch
from typer.testing import CliRunner

from mcnet.cli.main import app
from mcnet.codebooks import graphs, looking
from mcnet.codebooks.encoder import PainterConfig
from mcnet.codebooks.system import Codebooks, CodebooksConfig, retrieval
from mcnet.core import UserError
from mcnet.explore.oracles import draw_subject
from mcnet.explore.viewer import describe_view
from mcnet.media.pictures import write_image
from mcnet.media.video import video_info, write_video
from mcnet.memory.files import load_model, save_model
from mcnet.memory.outcomes import overhear, with_memories

TINY = CodebooksConfig.tiny()
SMALL = TINY.replace(
    added=False, image_size=32, painter=PainterConfig(width=8), appearance=retrieval(16, 32, 4, 4),
    keypoints=TINY.keypoints.replace(width=8, cap=32, blocks=3), motion=TINY.motion.replace(width=8, cap=32, blocks=3),
    flow=TINY.flow.replace(memory=retrieval(16, 16, 4, 4), size=16, hidden=16),
)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("codebooks") / "words.safetensors"
    save_model(path, Codebooks(SMALL).eval(), name="words", licence="Apache-2.0")
    return path


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)


def test_explore(file, tmp_path, monkeypatch):
    "With a name the page is written and nobody is called; without one it is opened where it lies."
    called, views, page, look = [], [], tmp_path / "page.html", looking.look_into_tables

    def look_once(*known):
        views.extend([] if views else [look(*known)])
        return views[0]

    monkeypatch.setattr(looking, "look_into_tables", look_once)
    monkeypatch.setattr(webbrowser, "open", called.append)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert run("explore", "--weights", file, "--save", page).exit_code == 0
    text = page.read_text()
    assert not called and all(f"{name}, scale {n}" in text for name in ("motion", "appearance") for n in (1, 4))
    assert "The memory of words" in text and "code 15" in text
    closed = [one["usage"]["silent"] for one in describe_view(views[0])["asked"]]
    assert closed == [12, 8, 4, 0] * 2, "a scale hears its prefix of 16 codes, and the page says so"
    assert run("explore", "--weights", file).exit_code == 0
    assert len(called) == 1 and called[0].startswith("file://") and called[0].endswith("tables.html")


def test_export(file, tmp_path, monkeypatch):
    "The graphs are those of page 58c; what they hold is tested there."

    def trace(network):
        raise UserError(f"{type(network).__name__} reached the tracer; this test goes no further")

    monkeypatch.setattr(graphs, "trace_codebooks", trace)
    with pytest.raises(UserError, match="Codebooks reached"):
        run("export", "--weights", file, "--out", tmp_path / "graphs")


def test_animate(file, tmp_path):
    subject = draw_subject(64, 5)
    write_video(tmp_path / "driving.mp4", subject.driving, 25)
    write_image(tmp_path / "me.png", subject.source[0])
    out = tmp_path / "out.mp4"
    words = "animate", "--weights", file, "--source", tmp_path / "me.png", "--driving", tmp_path / "driving.mp4"
    assert run(*words, "--out", out).exit_code == 0
    assert video_info(out).frames == 5


def test_both_memories_are_heard_and_changed(file):
    "Four scales ask each table once; where both are silent the picture is another, and the network as it was."
    network, pair = load_model(file).eval(), torch.rand(2, 1, 3, 32, 32)
    with torch.no_grad(), overhear(network) as asked:
        before = network(*pair).image
        assert [len(questions) for questions in asked.values()] == [4, 4]
        silent = with_memories(network, lambda memory: memory.silenced())
        assert (silent(*pair).image - before).abs().max() > 1e-4
        assert torch.equal(network(*pair).image, before)
