"The explorer in JupyterLab: a kernel answers, and whatever is touched is one forward pass."

import os
import re
import subprocess
import sys
import time

import pytest
import torch
from browser import needs_browser

from mcnet.animation.weights import load_network
from mcnet.explore.engine import Engine, ExplorerState
from mcnet.explore.oracles import draw_subject
from mcnet.explore.surgery import Surgery

pytestmark = needs_browser
APP = "document.querySelector('.mcnet-explorer').explorer"
CELLS = (
    "from mcnet.explore.widget import MemoryExplorer\n"
    'explorer = MemoryExplorer(panels=["stage", "asking"], state={"frame": 1})\n'
    "explorer",
    'explorer.state = {"frame": 4, "surgery": {"control": "same answer"}}',
)


@pytest.fixture
def lab(tmp_path):
    "A JupyterLab with one notebook, and its address."
    import nbformat  # takes two seconds: only where it is used
    from nbformat.v4 import new_code_cell, new_notebook

    kernel = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS], metadata=kernel)
    nbformat.write(notebook, tmp_path / "one.ipynb")
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", "--LabApp.extension_manager=readonly"]
    places = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")  # its own: nothing of the user's is read or written
    own = {f"JUPYTER_{place}": str(tmp_path / place) for place in places}
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={tmp_path}"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | own)
    try:
        for _ in range(600):
            found = re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token=(\w+)", (tmp_path / "log").read_text())
            if found or server.poll() is not None:
                break
            time.sleep(0.1)
        assert found, (tmp_path / "log").read_text()
        yield found[1], f"{found[1]}/lab/tree/one.ipynb?token={found[2]}&reset"
    finally:
        server.terminate()
        server.wait(20)


def picture(page):
    page.wait_for_function(f"!{APP}.busy()")
    return torch.tensor(page.evaluate(f"[...{APP}.answer.image.data]"))


def test_in_jupyterlab(lab, browser):
    "A cell shows it; a slider, a click and another cell change it; nothing else is asked for."
    host, address = lab
    engine, faults = Engine(load_network("tiny-synthetic").eval(), draw_subject(64)), []
    shown = lambda **state: engine.answer(ExplorerState(**state), ["image"])["image"].flatten()
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(90_000)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith((host, "blob:", "data:")) or faults.append(asked.url))
    page.goto(address)
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".mcnet-explorer .asking .facts:not(:empty)")
    torch.testing.assert_close(picture(page), shown(frame=1), atol=1e-4, rtol=0)
    assert page.locator(".jp-OutputArea-output img[data-explorer]").count() == 0  # live, and no still beside it
    page.locator("input[aria-label=frame]").focus()
    page.keyboard.press("ArrowRight")
    torch.testing.assert_close(picture(page), shown(frame=2), atol=1e-4, rtol=0)
    page.locator(".jp-CodeCell .cm-content").nth(1).click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(f"{APP}.state.frame === 4")
    same = shown(frame=4, surgery=Surgery(control="same answer"))
    torch.testing.assert_close(picture(page), same, atol=1e-4, rtol=0)
    page.close()
    assert not faults
