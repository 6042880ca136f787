"Every notebook runs from top to bottom, with its tiny budgets, in a process of its own."

import json
import os
import signal
import subprocess
import sys

import pytest
from repository import ROOT, name, notebooks

SECONDS = 40  # of processor time for one notebook


@pytest.fixture(scope="session")
def runner():
    "Runs one notebook after the other, each in a fork of a process that has imported what is slow to import."
    environment = {**os.environ, "MCNET_TINY": "1"}
    command = sys.executable, ROOT / "tests" / "run_notebook.py", "--serve"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:

        def run(path, log):
            print(json.dumps([str(path), SECONDS, str(log)]), file=process.stdin, flush=True)
            answer = process.stdout.readline()
            assert answer, "the process that runs the notebooks is gone"
            return int(answer)

        yield run
        process.stdin.close()


@pytest.mark.parametrize("path", notebooks(), ids=name)
def test_runs(path, tmp_path, runner):
    "No cell fails, and the whole page takes its tiny time."
    log = tmp_path / "log"
    status = runner(path, log)
    assert status != -signal.SIGALRM, f"{name(path)} hangs with MCNET_TINY=1:\n{log.read_text()}"
    assert status == 0, "\n" + log.read_text()[-9000:]
