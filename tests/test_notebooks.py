"Every notebook runs from top to bottom, with its tiny budgets, in a process of its own."

import os
import subprocess
import sys

import pytest
from repository import ROOT, name, notebooks, run

SECONDS = 45  # of processor time for one notebook
PATIENCE = 4  # times as long by the clock, before a notebook that sleeps or hangs is stopped


@pytest.mark.parametrize("path", notebooks(), ids=name)
def test_runs(path, tmp_path):
    "No cell fails, and the whole page takes its tiny time."
    environment = {**os.environ, "MCNET_TINY": "1", "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(tmp_path)}
    command = sys.executable, ROOT / "tests" / "run_notebook.py", path, SECONDS
    try:
        done = run(*command, env=environment, timeout=PATIENCE * SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{name(path)} hangs: {PATIENCE * SECONDS} s by the clock with MCNET_TINY=1")
    assert done.returncode == 0, "\n" + done.stdout + done.stderr[-3000:]
