"""Run notebooks from top to bottom, each in a fresh kernel, and keep their outputs.

    python docs/run_notebooks.py                      all of them, in story order
    python docs/run_notebooks.py nbs/baseline/05_keypoints.ipynb

A notebook is written back only if every cell ran. What would change from run to run (times, versions, scroll states)
is not kept, so that a difference in git is a difference in the page.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from pages import story_order

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = "#| eval: false", "nbdev_export()"
KERNEL = {"display_name": "python3", "language": "python", "name": "python3"}


def joined(outputs):
    "Neighbouring pieces of one stream as one output: how a stream is cut depends on timing."
    whole = []
    for output in outputs:
        if whole and output.output_type == "stream" == whole[-1].output_type and output.name == whole[-1].name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def execute(path):
    "Run one notebook in its folder; return its cells as they are to be written."
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
    return notebook


def main():
    paths = [Path(argument).resolve() for argument in sys.argv[1:]] or sorted(
        (ROOT / "nbs").rglob("[!._]*.ipynb"), key=story_order
    )
    for path in paths:
        started = time.perf_counter()
        try:
            notebook = execute(path)
        except CellExecutionError as error:
            sys.exit(f"{path.name}: a cell failed, nothing is written\n{error}")
        temporary = path.with_name(f".{path.name}.tmp")
        nbformat.write(notebook, temporary)
        os.replace(temporary, path)
        print(f"{path.name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
