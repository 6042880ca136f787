"""Run one notebook from top to bottom in this process, and leave with 1 and the failing cell if it fails.

    python tests/run_notebook.py nbs/05_keypoints.ipynb [seconds of processor time]

Cells marked `#| eval: false` or with one of the flags of settings.ini (`tst_flags`) are left out. Nothing is written.
"""

import contextlib
import io
import os
import re
import signal
import sys
import time
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from repository import cells, settings

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def left_out(cell):
    "Is this cell for the reader's eyes, or for another day?"
    flags = set(settings()["tst_flags"].split())
    return cell.directives.get("eval", "").strip().lower() == "false" or bool(flags & set(cell.directives))


def report(path, cell, output, seconds):
    "The failing cell, and the end of what it and its traceback printed."
    lines = [f"{number:4d} | {line}" for number, line in enumerate(cell.source.splitlines(), 1)]
    print(f"{path.name}, cell {cell.number} failed after {seconds:.1f} s:", *lines, "", sep="\n")
    print(COLOURS.sub("", output)[-6000:])


def too_late(signum, frame):
    "Interrupt the cell that is running when the time is up."
    raise TimeoutError(f"the notebook used up its {sys.argv[2]} s; shrink its budget()s")


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


if __name__ == "__main__":
    notebook = Path(sys.argv[1]).resolve()
    os.environ.update(IN_TEST="1", MPLBACKEND="agg")  # IN_TEST: nbdev_export() does nothing
    os.chdir(notebook.parent)
    sys.path.insert(0, str(notebook.parent))
    if len(sys.argv) > 2:  # processor time, so that a busy machine does not fail a page
        signal.signal(signal.SIGPROF, too_late)
        signal.setitimer(signal.ITIMER_PROF, float(sys.argv[2]))
    sys.exit(not run(notebook))
