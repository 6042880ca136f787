"The site's converter, on a small notebook of its own; `make docs` builds the whole site and fails on a broken link."

import json
import sys

import pytest
from repository import ROOT

sys.path.insert(0, str(ROOT / "docs"))
from build import SCRIPTS, broken_links  # noqa: E402
from pages import Notebook, anchors, linked, page, reference  # noqa: E402

EXPORTED = """#| export
def bend(
    line,  # (N, 2)
    *,
    by: float = 0.5,  # radians
):  # (N, 2)
    "Bend a line."
    return line * by


class Bow:
    "A bent line."

    width: int = 3  # pixels

    def __init__(self, line):
        self.line = line

    def _hidden(self):
        return 0
"""
CELLS = [
    ("code", "#| default_exp bow"),
    ("markdown", "# Bow: a bent line\n\n> How far it bends.\n\nSee [the licence](../LICENSE)."),
    ("code", "#| hide\nimport math"),
    ("code", EXPORTED),
    ("markdown", "### Exercise 1\n`bend` it, with `warp`."),
    ("code", "#| code-fold: true\n1 + 1"),
    ("code", "#| hide\nimport nbdev\n\nnbdev.nbdev_export()"),
]


@pytest.fixture
def notebook(tmp_path):
    "The notebook, in a repository of its own."
    (tmp_path / "nbs").mkdir()
    (tmp_path / "LICENSE").write_text("free")
    cells = [{"cell_type": kind, "metadata": {}, "source": text, "id": str(i)} for i, (kind, text) in enumerate(CELLS)]
    for cell in cells:
        cell.update({"outputs": [], "execution_count": 1} if cell["cell_type"] == "code" else {})
    widgets = {"application/vnd.jupyter.widget-state+json": {"state": {"a": {"state": {"source": ["b", "value"]}}}}}
    whole = {"cells": cells, "metadata": {"widgets": widgets}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "nbs" / "99_bow.ipynb").write_text(json.dumps(whole))
    return Notebook(tmp_path / "nbs" / "99_bow.ipynb")


def test_page(notebook, tmp_path):
    "Hidden cells go, exported code stays with a place to link to, solutions are folded, widgets are kept."
    made = page(notebook, {"bend": ["mcnet.bow"], "warp": ["mcnet.baseline.grid"]}, tmp_path, "https://host/blob/main")
    sources = [cell["source"] for cell in made["cells"]]
    assert not any(
        "#|" in text or "import math" in text or "nbdev" in text or "default_exp" in text for text in sources
    )
    at = sources.index("(mcnet.bow.bend)=\n(mcnet.bow.Bow-class)=")
    assert sources[at + 1].startswith("def bend(")
    assert "[the licence](https://host/blob/main/LICENSE)" in sources[0]
    assert sources[at + 2] == "### Exercise 1\n`bend` it, with [`warp`](#mcnet.baseline.grid.warp)."
    assert made["cells"][-1]["metadata"]["tags"] == ["hide-input"]
    assert "solution" in made["cells"][-1]["metadata"]["mystnb"]["code_prompt_show"]
    assert "source" in json.dumps(made["metadata"]["widgets"])
    json.dumps(made)


def test_reference(notebook):
    "Signatures with the comments that document them; no bodies, nothing private."
    text = reference(notebook)
    assert "by: float = 0.5,  # radians" in text and "):  # (N, 2)" in text and "Bend a line." in text
    assert "width: int = 3  # pixels" in text and "def __init__(self, line):" in text
    assert "return" not in text and "_hidden" not in text


def test_ambiguous_names_stay_plain():
    "A name that two modules define is linked only when its module is said."
    homes = {"forward": ["mcnet.a", "mcnet.b"]}
    assert linked("`forward`", homes, None) == "`forward`"
    assert linked("`b.forward()`", homes, None) == "[`b.forward()`](#mcnet.b.forward)"


def test_names_have_homes(notebook):
    "Every public name, once."
    assert anchors([notebook]) == {"bend": ["mcnet.bow"], "Bow": ["mcnet.bow"]}


def test_broken_links_are_found(tmp_path):
    "A missing page, a missing place, and a script from elsewhere; good links pass."
    (tmp_path / "a.html").write_text(
        '<p id="x"><a href="b.html#y">b</a><a href="#x">x</a><a href="https://host/">h</a>'
    )
    (tmp_path / "b.html").write_text('<p id="y"><a href="c.html"></a><a href="a.html#z"></a><script src="//cdn/x.js">')
    faults = " | ".join(broken_links(tmp_path))
    assert faults.count("|") == 2 and all(word in faults for word in ("c.html", "a.html#z", "another host"))


def test_scripts_are_pinned():
    "What is fetched for the site has a version and a checksum."
    assert all("@" in package[1:] and len(digest) == 64 for package, _, digest in SCRIPTS.values())
