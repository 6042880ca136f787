"The outputs of a page were made with the code that it has now; `python docs/run_notebooks.py --stale` mends it."

import json
import sys

import pytest
from repository import ROOT, name, notebooks

sys.path.insert(0, str(ROOT / "docs"))
from stamps import Code, is_stale  # noqa: E402

CORE = """
"Core."
import functools

def half(x):
    "Half."
    return x / LIMIT  # of it

def unused(x):
    return x

LIMIT = 2
"""
TOP = "from .core import half\nfrom . import core\n\n\nclass Top:\n    def run(self, x):\n        return half(x)\n"
PAGES = {
    "class": ["from mcnet.top import Top", "Top().run(1)"],
    "module": ["from mcnet import core", "%time core.half(2)"],
    "lazy": ["import mcnet", "mcnet.Top().run(3)"],
    "none": ["1 + 1"],
}


@pytest.fixture
def stamps(tmp_path):
    "The stamps of four pages, with some text of the package replaced by another."

    def make(old="", new=""):
        package = tmp_path / "mcnet"
        package.mkdir(exist_ok=True)
        files = {"core": CORE, "top": TOP, "__init__": '_HOME = {"Top": "top"}\n'}
        for file, source in files.items():
            (package / f"{file}.py").write_text(source.replace(old, new) if old else source)
        return {page: Code(package).stamp(cells) for page, cells in PAGES.items()}

    return make


@pytest.mark.parametrize(
    "old, new",
    [
        ("# of it", "# a remark"),
        ('"Half."', '"A half."'),
        ('"Core."', '"The core."'),
        ("LIMIT = 2", "LIMIT = 2\n__all__ = ['half']"),
        ("return x\n", "return x + 1\n"),
        ("LIMIT = 2", "\nLIMIT = (2)"),
    ],
)
def test_what_no_output_can_show_leaves_the_stamp(stamps, old, new):
    "A comment, a docstring, layout, a function that the page does not reach."
    assert old in CORE and stamps(old, new) == stamps()


@pytest.mark.parametrize("old, new", [("LIMIT = 2", "LIMIT = 3"), ("x / LIMIT", "x // LIMIT")])
def test_what_a_page_reaches_changes_its_stamp(stamps, old, new):
    "Through a class, through a module, through the package's own names."
    before, after = stamps(), stamps(old, new)
    assert [page for page in PAGES if before[page] != after[page]] == ["class", "module", "lazy"]


def test_own_cells_count(stamps, tmp_path):
    "A changed cell is noticed, a directive or a cell that is not run is not."
    code, cells = Code(tmp_path / "mcnet"), ["x = 1", "print(x)"]
    stamps()
    assert code.stamp(cells) == code.stamp(["#| hide\nx = 1", "print( x )", "#| eval: false\nprint(x + 1)"])
    assert code.stamp(cells) != code.stamp(["x = 2", "print(x)"])


def test_a_page_without_a_stamp_is_stale(tmp_path, stamps):
    "Nobody knows what it was made with."
    stamps()
    code, path = Code(tmp_path / "mcnet"), tmp_path / "page.ipynb"
    page = {"cells": [{"cell_type": "code", "source": ["x = 1"]}], "metadata": {}}
    path.write_text(json.dumps(page))
    assert is_stale(path, code)
    page["metadata"] = {"mcnet": {"code": code.stamp(["x = 1"])}}
    path.write_text(json.dumps(page))
    assert not is_stale(path, code)


@pytest.fixture(scope="module")
def code():
    return Code()


@pytest.mark.parametrize("path", notebooks(), ids=name)
def test_outputs_fit_the_code(path, code):
    "The page was run with this code."
    assert not is_stale(path, code), f"stale outputs: python docs/run_notebooks.py {name(path)} (or --stale for all)"
