"The site's converter, on a small notebook of its own; `make docs` builds the whole site and fails on a broken link."

import json
import re
import sys
from types import SimpleNamespace

import pytest
from repository import ROOT, cells, is_appendix, name, notebooks

sys.path.insert(0, str(ROOT / "docs"))
from build import SCRIPTS, broken_links, tiles  # noqa: E402
from pages import MENTION, NUMBER, Notebook, anchors, folded, linked, numbered, page, reference  # noqa: E402
from story import MARKED, Story, with_map  # noqa: E402

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
    "Hidden cells and solutions are folded, exported code has a place to link to, widgets are kept, nbdev's cells go."
    homes = {"bend": ["mcnet.bow"], "warp": ["mcnet.baseline.grid"]}
    made = page(notebook, homes, {}, tmp_path, "https://host/blob/main")
    sources = [cell["source"] for cell in made["cells"]]
    assert not any("#|" in text or "nbdev" in text or "default_exp" in text for text in sources)
    assert sources[0] == "```{index} ! bow\n```"
    assert "[the licence](https://host/blob/main/LICENSE)" in sources[1]
    at = sources.index("(mcnet.bow.bend)=\n(mcnet.bow.Bow-class)=")
    assert sources[at + 1].startswith("def bend(")
    assert sources[at + 2] == "### Exercise 1\n`bend` it, with [`warp`](#mcnet.baseline.grid.warp)."
    imports, solution = made["cells"][at - 1], made["cells"][-1]
    assert imports["source"] == "import math"
    for cell, word in ((imports, "Show the imports"), (solution, "Show one solution")):
        assert cell["metadata"]["tags"] == ["hide-input"] and cell["metadata"]["mystnb"]["code_prompt_show"] == word
    assert "source" in json.dumps(made["metadata"]["widgets"])
    json.dumps(made)


@pytest.mark.parametrize(
    "source, module, fold",
    [
        ("#| hide\nimport a\nfrom b import c", None, "Show the imports"),
        ("#| export\nimport a", "mcnet.a", "Show the imports"),
        ("import a", None, None),
        ("#| hide\nimport a\na.b()", "mcnet.a", "Show the preparation"),
        ("#| hide\n%time a", None, "Show the preparation"),
        ("a = 1", "mcnet.a", None),
    ],
)
def test_folds(source, module, fold):
    "Imports are folded in lessons and shown in walkthroughs; what a page hides is folded, and says what it is."
    cell = SimpleNamespace(directives_=dict.fromkeys(re.findall(r"#\| (\w+)", source), []))
    assert folded(cell, {}, re.sub(r"#\|.*\n", "", source), "Heading", module) == fold


def test_page_numbers_lead_there(tmp_path):
    "In prose, alone or in a list; not in code, not in a link, not to the page itself."
    here, there, other = (tmp_path / place for place in ("a/03_x.ipynb", "b/20d_y.ipynb", "a/04_z.ipynb"))
    numbers = {"03": here, "20d": there, "04": other}
    links = numbered("Page 20d, pages 03, 04 and 20d, `page 04`, [page 04](04_z.ipynb), 04, page 99.", here, numbers)
    to = "[20d](../b/20d_y.ipynb)"
    wanted = f"Page {to}, pages 03, [04](04_z.ipynb) and {to}, `page 04`, [page 04](04_z.ipynb), 04, page 99."
    assert links == wanted


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


@pytest.fixture(scope="module")
def story():
    return Story()


def test_story_fits_the_notebooks(story):
    "docs/story.py names no page and no wing that is gone, and knows every wing there is."
    assert not story.faults


def test_every_page_is_read_once(story):
    "Lessons, appendices and walkthroughs are all the pages there are; next skips the appendices."
    appendices = [page.path for page in story.numbers.values() if page.appendix]
    read = [page.path for page in [*story.lessons, *story.tutorials]]
    assert sorted([*read, *appendices, ROOT / "nbs" / "index.ipynb"]) == sorted(notebooks())
    assert appendices == [path for path in notebooks() if path.parent.name != "tutorials" and is_appendix(path)]
    around = story.neighbours()
    assert len(around) == len(story.pages)
    for lesson in story.lessons:
        assert not any(other.appendix for other in around[lesson] if other), lesson.place


@pytest.mark.parametrize("file", ["README.md", "nbs/index.ipynb"])
def test_map_is_complete(file, story):
    "The map shows every page, as docs/story.py writes it, and so do the tiles of the site."
    path = ROOT / file
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else "\n".join(cell.source for cell in cells(path))
    here = MARKED.search(text)
    assert here and with_map(text, story, path.parent) == text, "run python docs/story.py"
    assert len(re.findall(r"\.ipynb\)", here[0])) == len(notebooks()) - 1 == tiles(story).count("<a ")


@pytest.mark.parametrize("path", notebooks(), ids=name)
def test_page_numbers_exist(path, story):
    "A page that the prose names by its number is there."
    prose = "\n".join(cell.source for cell in cells(path) if cell.kind == "markdown")
    said = {number for mention in MENTION.findall(prose) for number in NUMBER.findall(mention)}
    missing = sorted(said - {*story.numbers})
    assert not missing, f"{name(path)} speaks of pages {missing}, which are not there"


def test_scripts_are_pinned():
    "What is fetched for the site has a version and a checksum."
    assert all("@" in package[1:] and len(digest) == 64 for package, _, digest in SCRIPTS.values())
