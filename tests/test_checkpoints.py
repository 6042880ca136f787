"Killed, asked to stop, without space, with a damaged file: the run goes on as if nothing had happened."

import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
import warnings

import pytest
import torch
from test_training import QUICK, Shifted, equal, network, run

from mcnet.core import Notice, UserError
from mcnet.doors import atomic_path
from mcnet.training.checkpoints import Stopped, averaged_weights, find_checkpoints, hold_folder, read_checkpoint
from mcnet.weightfile import load_weights

OFTEN = QUICK.replace(save_minutes=0.0)  # a checkpoint after every step


class Recorded(Shifted):
    "Batches that write down which of them were asked for."

    def __init__(self, path):
        super().__init__()
        self.path = path

    def batch(self, number):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{number}\n")
        return super().batch(number)


class PowerCut(Exception):
    pass


def cut_at(step):
    "An `on_step` that ends the run without a word."

    def cut(state):
        if state.step == step:
            raise PowerCut

    return cut


@pytest.fixture
def through():
    "The weights of a run that nobody interrupted."
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes that are killed
    model = network()
    run(model)
    yield model.state_dict()
    torch.set_num_threads(threads)


def ages(folder):
    "When each checkpoint of a folder was written; one that is renamed while we look is left out."
    for path in folder.glob("checkpoint*.pt"):
        with contextlib.suppress(FileNotFoundError):
            yield path.stat().st_mtime


def kill_three(folder):
    "Three processes, one after the other, train in a folder and are killed at a random moment; prints the steps."
    torch.set_num_threads(1)
    for _ in range(3):
        began = time.time()
        child = os.fork()
        if not child:
            run(network(), config=OFTEN, out=folder)
            os._exit(0)
        while time.time() < began + 60 and not any(written > began for written in ages(folder)):
            time.sleep(0.002)
        time.sleep(0.4 * random.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print("killed after", read_checkpoint(find_checkpoints(folder)[0])["step"], flush=True)


def test_a_killed_process_goes_on(tmp_path, through):
    "SIGKILL at three random moments, in a step or while a file is written; in the end nothing is missing."
    code = "import pathlib, sys, test_checkpoints as t; t.kill_three(pathlib.Path(sys.argv[1]))"
    process = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        cwd=os.path.dirname(__file__),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    steps = [int(line.split()[-1]) for line in process.stdout.splitlines() if line.startswith("killed")]
    assert len(steps) == 3 and steps == sorted(steps) and steps[0] >= 1, process.stdout
    resumed = network(seed=1)
    run(resumed, out=tmp_path)
    assert equal(through, resumed.state_dict()) and not list(tmp_path.glob(".*"))
    tensors, _, notes = load_weights(tmp_path / "weights.safetensors")
    assert notes["recipe"] == "paper" and set(tensors) == set(through)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(tmp_path, through, number):
    "A signal ends the run after its step, with a checkpoint and a sentence; the order of the data is kept."

    def please(state):
        if state.step == 4:
            os.kill(os.getpid(), number)

    who = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}[number]
    pairs = Recorded(tmp_path / "asked.txt")
    with pytest.raises(Stopped, match=f"stopped by {who} after step 4; start the same run again"):
        run(network(), pairs, out=tmp_path, on_step=please)
    first = [int(line) for line in pairs.path.read_text().split()]
    pairs.path.unlink()
    resumed = network(seed=1)
    history = run(resumed, pairs, out=tmp_path)
    second = [int(line) for line in pairs.path.read_text().split()]
    assert first[:4] == [0, 1, 2, 3] and second == list(range(4, 4 + len(second)))
    assert equal(through, resumed.state_dict())
    assert json.loads((tmp_path / "history.json").read_text())["rows"] == history.rows
    assert signal.getsignal(number) is not None and "note" not in repr(signal.getsignal(number))


def test_a_limit_that_is_passed_already(tmp_path):
    "A run that was stopped before its first row, and goes on with fewer steps than it has done, ends with a row."
    config = QUICK.replace(log_every=100)
    stop = lambda state: state.step == 3 and os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        run(network(), config=config, out=tmp_path, on_step=stop)
    history = run(network(), config=config.replace(steps=2), out=tmp_path)
    assert [row["step"] for row in history.rows] == [3] and (tmp_path / "weights.safetensors").exists()


def test_without_a_folder_nothing_is_promised():
    "A stopped run without `out` says that nothing was kept."
    with pytest.raises(Stopped, match="nothing was kept"):
        run(network(), on_step=lambda state: state.step == 2 and os.kill(os.getpid(), signal.SIGTERM))


def test_a_full_disk_is_one_sentence(tmp_path, through):
    "When a checkpoint does not fit, the run ends with a sentence and the one before stays; with room it goes on."
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(state):
        if state.step == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    try:
        with pytest.raises(UserError, match="cannot write .*checkpoint.pt: the disk seems to be full; make room"):
            run(network(), config=OFTEN, out=tmp_path, on_step=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_checkpoint(tmp_path / "checkpoint.pt")["step"] == 5 and not list(tmp_path.glob(".*"))
    resumed = network(seed=1)
    run(resumed, out=tmp_path)
    assert equal(through, resumed.state_dict())


@pytest.mark.parametrize("damage", ["cut", "bits", "empty"])
def test_a_damaged_checkpoint_is_put_aside(tmp_path, through, damage):
    "The one before takes its place, with a notice; the run ends as if nothing had happened."
    with pytest.raises(PowerCut):
        run(network(), config=OFTEN, out=tmp_path, on_step=cut_at(8))
    newest, second = find_checkpoints(tmp_path)
    assert [read_checkpoint(path)["step"] for path in (newest, second)] == [7, 6]
    content = bytearray(newest.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 128):  # more than the padding between two tensors
        content[place] ^= 1
    newest.write_bytes({"cut": content[: len(content) // 2], "bits": content, "empty": b""}[damage])
    resumed = network(seed=1)
    with pytest.warns(Notice, match="put aside as checkpoint.broken; the run goes on from checkpoint-1.pt, step 6"):
        run(resumed, out=tmp_path)
    assert equal(through, resumed.state_dict()) and (tmp_path / "checkpoint.broken").exists()


def test_a_lone_damaged_checkpoint_is_named(tmp_path):
    "Half a file and no other: refused in one sentence, and left where it is."
    run(network(), out=tmp_path)
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:1000])
    (tmp_path / "checkpoint-1.pt").unlink(missing_ok=True)
    with pytest.raises(UserError, match="checkpoint.pt is not a complete checkpoint"):
        run(network(), out=tmp_path)
    assert file.stat().st_size == 1000


# ---- nothing of others is lost, and nobody waits without end


def test_only_our_own_leftovers_are_removed(tmp_path):
    "A hidden .pt of somebody else stays; what a killed process was writing goes."
    mine = [tmp_path / name for name in (".notes.pt", ".checkpoint.pt", ".checkpoint-old.pt", ".model-abcdefgh.pt")]
    for path in mine:
        path.write_bytes(b"dear to somebody")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()  # a process of this machine that has died
    with atomic_path(tmp_path / "checkpoint.pt") as half:
        ours = half.with_name(re.sub(rf"-{os.getpid()}-", f"-{child.pid}-", half.name))
    (tmp_path / "checkpoint.pt").unlink()
    ours.write_bytes(b"half a checkpoint")
    run(network(), config=QUICK.replace(steps=1), out=tmp_path)
    assert all(path.read_bytes() == b"dear to somebody" for path in mine) and not ours.exists()


def test_inputs_are_never_written(tmp_path):
    "The weights that a run starts from stay as they are, in the run's own folder or in a stranger's."
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"somebody's")
    with pytest.raises(UserError, match="without a checkpoint and would be overwritten"):
        run(network(), out=tmp_path)
    assert weights.read_bytes() == b"somebody's" and not list(tmp_path.glob("checkpoint*"))
    weights.unlink()
    run(network(), out=tmp_path)
    before = weights.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(weights)
    for path in (weights, link, f"{tmp_path}/./weights.safetensors"):
        with pytest.raises(UserError, match="what this run starts from and would be overwritten"):
            run(network(seed=1), config=QUICK.replace(steps=20), out=tmp_path, inputs=[path])
    assert weights.read_bytes() == before
    run(network(seed=1), out=tmp_path / "another", inputs=[weights])


def test_a_bad_folder_is_said_before_the_first_step(tmp_path):
    "A run whose results could not be kept does not begin: no batch is made, nothing is written."
    (tmp_path / "file").write_text("no folder")
    before = sorted(tmp_path.rglob("*"))
    pairs = Recorded(tmp_path / "asked")
    for place, words in (("file", "is a file, not a folder"), ("file/below", "cannot be created|is a file")):
        with pytest.raises(UserError, match=words):
            run(network(), pairs, out=tmp_path / place)
    with pytest.raises(UserError, match="is an input"):
        run(network(), pairs, out=tmp_path, inputs=[tmp_path])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pipe_is_not_opened(tmp_path):
    "A fifo called checkpoint.pt is named at once; opening it would wait for ever."
    os.mkfifo(tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="checkpoint.pt is not a file; move it away"):
        run(network(), out=tmp_path)
    with pytest.raises(UserError, match="is not a file"):
        read_checkpoint(tmp_path / "checkpoint.pt")


class Surprise:
    def __reduce__(self):
        return os.mkdir, ("you-have-been-had",)


@pytest.mark.parametrize("kind", ["evil", "other", "list"])
def test_foreign_checkpoints_are_left_alone(tmp_path, monkeypatch, kind):
    "Another program's file, or one that would run code: our sentence only, nothing run, nothing moved."
    monkeypatch.chdir(tmp_path)
    content = {"evil": Surprise(), "other": {"state_dict": {"w": torch.ones(2)}}, "list": [torch.ones(2)]}[kind]
    torch.save(content, tmp_path / "checkpoint.pt")
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(UserError, match="was not written by a training run of mcnet; move it away") as caught:
        run(network(), out=tmp_path)
    assert "weights_only" not in str(caught.value) and caught.value.__suppress_context__ == (kind == "evil")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before and not (tmp_path / "you-have-been-had").exists()


def test_two_runs_cannot_share_a_folder(tmp_path):
    "The second is refused at once, and the first goes on; a folder whose run has died is free."
    told = []

    def second(state):
        if state.step == 2:
            with pytest.raises(UserError, match="another run is at work in") as caught:
                run(network(), out=tmp_path)
            told.append(caught.value)

    run(network(), out=tmp_path, on_step=second)
    assert told and read_checkpoint(tmp_path / "checkpoint.pt")["step"] == 10
    child = os.fork()
    if not child:
        with hold_folder(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with hold_folder(tmp_path):
        pass


def test_a_full_disk_at_the_last_moment(tmp_path, through):
    "Steps are done, the checkpoint is written, the weights do not fit: a sentence; the same run again writes them."
    from safetensors import SafetensorError

    def full(path, model):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(UserError, match="cannot write .*weights.safetensors: the disk seems to be full; make room"):
        run(network(), out=tmp_path, save=full)
    again = network(seed=1)
    run(again, out=tmp_path)
    assert equal(through, again.state_dict()) and (tmp_path / "weights.safetensors").exists()


def test_one_clip_that_cannot_be_decoded(tmp_path):
    "It costs its batches and a notice, not the night; a source of nothing else ends the run."

    class Torn(Shifted):
        def __init__(self, torn):
            super().__init__()
            self.torn = torn

        def batch(self, number):
            if self.torn(number):
                raise UserError("clip_7.mp4 cannot be decoded; remove it or copy it again")
            return super().batch(number)

    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        history = run(network(), Torn(lambda number: number == 3))
    said = [str(note.message) for note in notes if issubclass(note.category, Notice)]
    assert said == ["batch 3 was left out: clip_7.mp4 cannot be decoded; remove it or copy it again"]
    assert history.rows[-1]["step"] == 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserError, match="clip_7.mp4 cannot be decoded"):
            run(network(), Torn(lambda number: True))


def test_weights_of_older_checkpoints_can_be_read(tmp_path):
    "A checkpoint from before there were players does not go on, and says so; its averaged weights load."
    run(network(), out=tmp_path)
    values = read_checkpoint(tmp_path / "checkpoint.pt")
    old = values | values.pop("players")["generator"] | {"config": {"perceptual": 3.0, "steps": 10}}
    for path in find_checkpoints(tmp_path):
        path.unlink()
    torch.save({name: value for name, value in old.items() if name != "players"}, tmp_path / "checkpoint.pt")
    network().load_state_dict(averaged_weights(tmp_path / "checkpoint.pt"))
    with pytest.raises(UserError, match="is of an older mcnet, this run of generator; use the same, or another folder"):
        run(network(), out=tmp_path)


def test_so_many_are_kept(tmp_path):
    "Three of the newest, in order of age."
    run(network(), config=OFTEN.replace(keep=3), out=tmp_path)
    kept = find_checkpoints(tmp_path)
    assert [path.name for path in kept] == ["checkpoint.pt", "checkpoint-1.pt", "checkpoint-2.pt"]
    assert [read_checkpoint(path)["step"] for path in kept] == [10, 9, 8]
