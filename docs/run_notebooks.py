"""Run notebooks from top to bottom, each in a fresh kernel, and keep their outputs.

    python docs/run_notebooks.py                      all of them, in story order
    python docs/run_notebooks.py --stale              those whose outputs were made with other code (see stamps.py)
    python docs/run_notebooks.py nbs/baseline/05_keypoints.ipynb

A notebook is written back only if every cell ran, with the hash of the code that made its outputs and, where it prints
times, the machine. What would change from run to run (versions, scroll states) is not kept, so that a difference in git
is a difference in the page. Processor seconds are printed, since the clock's depend on what else the machine does.
"""

import json
import os
import platform
import re
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from stamps import KEY, LEFT_OUT, Code, is_stale, sources
from story import Story

KERNEL = {"display_name": "python3", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
TIMED = re.compile(r"\b\d+(?:\.\d+)? ?(?:s|ms|seconds|minutes)\b")


def joined(outputs):
    "Neighbouring pieces of one stream as one output: how a stream is cut depends on timing."
    whole = []
    for output in outputs:
        if whole and output.output_type == "stream" == whole[-1].output_type and output.name == whole[-1].name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def machine():
    "The processor and the versions that a time depends on."
    facts = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", facts.read_text()) if facts.exists() else None
    processor = named[1] if named else platform.processor() or platform.machine()
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f", {threads} thread{'s' * (threads != '1')}" if threads else ""
    return f"{os.cpu_count()} cores of {processor}{limit}, torch {version('torch')}"


def as_stills(notebook):
    "An explorer is kept as its still, which says what it shows: its own state holds a megabyte of pictures."
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data-explorer" in output.get("data", {}).get("text/html", ""):
                output.data.pop(WIDGET, None)
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    for name, model in [*state.items()]:
        if model["model_module"] == "anywidget":
            state.pop(model["state"].get("layout", "").removeprefix("IPY_MODEL_"), None)
            state.pop(name)


def execute(path):
    "Run one notebook in its folder; return its cells as they are to be written."
    stamp = {"code": Code().stamp(sources(json.loads(path.read_text(encoding="utf-8"))))}
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    kept = {cell.id: cell.source for cell in code if any(mark in cell.source for mark in LEFT_OUT)}
    for cell in code:
        cell.outputs, cell.execution_count = [], None
        cell.source = "" if cell.id in kept else cell.source
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=resources).execute()
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = nbformat.NotebookNode({k: v for k, v in cell.metadata.items() if k == "tags"})
        if cell.cell_type == "code":
            cell.source, cell.outputs = kept.get(cell.id, cell.source), joined(cell.outputs)
    if any(TIMED.search(output.get("text", "")) for cell in code for output in cell.outputs):
        stamp["machine"] = machine()
    as_stills(notebook)
    outputs = [output for cell in code for output in cell.get("outputs", [])]
    if not any(WIDGET in output.get("data", {}) for output in outputs):
        notebook.metadata.pop("widgets", None)  # of widgets that a test made and nobody shows
    notebook.metadata[KEY] = stamp
    return notebook


def processor_seconds():
    "Of all kernels that have ended."
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def chosen(arguments):
    "The notebooks that are asked for."
    pages, code = [page.path for page in Story().pages], Code()
    if arguments == ["--stale"]:
        return [path for path in pages if is_stale(path, code)]
    return [Path(argument).resolve() for argument in arguments] or pages


def main():
    paths = chosen(sys.argv[1:])
    for number, path in enumerate(paths, 1):
        started, used = time.perf_counter(), processor_seconds()
        try:
            notebook = execute(path)
        except CellExecutionError as error:
            sys.exit(f"{path.name}: a cell failed, nothing is written\n{error}")
        temporary = path.with_name(f".{path.name}.tmp")
        nbformat.write(notebook, temporary)
        os.replace(temporary, path)
        clock, used = time.perf_counter() - started, processor_seconds() - used
        place = notebook.metadata[KEY].get("machine", "")
        print(
            f"{number}/{len(paths)} {path.name}: {used:.0f} s of processor, {clock:.0f} s; {place}".rstrip("; "),
            flush=True,
        )
    print(f"{len(paths)} pages, {processor_seconds():.0f} s of processor on {machine()}")


if __name__ == "__main__":
    main()
