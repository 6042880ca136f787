"""Run one notebook from top to bottom in a process of its own, and leave with 1 and the failing cell if it fails.

    python tests/run_notebook.py nbs/baseline/05_keypoints.ipynb [seconds of processor time]
    python tests/run_notebook.py --serve

Cells marked `#| eval: false` or with one of the flags of settings.ini (`tst_flags`) are left out. Nothing is written.
`--serve` reads notebooks from standard input (see `serve`): what all of them import is then imported only once.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from repository import cells, settings

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
PATIENCE = 4  # times as long by the clock, before a notebook that sleeps or hangs is stopped
# Slow to import, and nothing of mcnet: a page must import its modules by itself
SHARED = "torch", "torch._dynamo", "matplotlib.pyplot", "seaborn", "kornia.filters", "accelerate", "av", "nbdev", "rich"


def left_out(cell):
    "Is this cell for the reader's eyes, or for another day?"
    flags = set(settings()["tst_flags"].split())
    return cell.directives.get("eval", "").strip().lower() == "false" or bool(flags & set(cell.directives))


def report(path, cell, output, seconds):
    "The failing cell, and the end of what it and its traceback printed."
    lines = [f"{number:4d} | {line}" for number, line in enumerate(cell.source.splitlines(), 1)]
    print(f"{path.name}, cell {cell.number} failed after {seconds:.1f} s:", *lines, "", sep="\n")
    print(COLOURS.sub("", output)[-6000:])


def run(path):
    "Run the cells; True when all went well."
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    for cell in cells(path):
        if cell.kind != "code" or not cell.code or left_out(cell):
            continue
        started, output = time.perf_counter(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            result = shell.run_cell(cell.source, store_history=True)
        if not result.success:
            report(path, cell, output.getvalue(), time.perf_counter() - started)
            return False
    return True


def limit(seconds):
    "Stop this process after so much processor time with the cell that is running; by the clock at any rate."

    def too_late(signum, frame):
        raise TimeoutError(f"the notebook used up its {seconds:g} s; shrink its budget()s")

    signal.signal(signal.SIGPROF, too_late)  # processor time, so that a busy machine does not fail a page
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)  # SIGALRM ends the process, whatever it waits for


def start(notebook, seconds=None):
    "Run the notebook in its folder and leave."
    notebook = Path(notebook).resolve()
    os.chdir(notebook.parent)
    sys.path.insert(0, str(notebook.parent))
    if seconds:
        limit(float(seconds))
    sys.exit(not run(notebook))


def serve():
    "For each line `[notebook, seconds, log]` on standard input: run it in a fork, and answer with its exit status."
    for name in SHARED:
        importlib.import_module(name)
    gc.freeze()  # what is here stays; no fork need look through it
    while line := sys.stdin.readline():
        notebook, seconds, log = json.loads(line)
        child = os.fork()
        if not child:
            for number, file in enumerate((os.devnull, log, log)):
                os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
            os.environ["IPYTHONDIR"] = str(Path(log).parent)
            start(notebook, seconds)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    os.environ.update(IN_TEST="1", MPLBACKEND="agg")  # IN_TEST: nbdev_export() does nothing
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        start(*sys.argv[1:])
