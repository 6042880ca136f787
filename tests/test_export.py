"The package is what the notebooks export, in the order of the story."

import ast
import difflib
import os
import shutil
import sys

import pytest
from repository import PACKAGE, ROOT, chapters, module_of, modules, name, notebooks, run, settings


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    "A copy of the settings and notebooks, exported afresh: the working tree is not touched."
    copy = tmp_path_factory.mktemp("exported")
    shutil.copy(ROOT / "settings.ini", copy)
    shutil.copytree(ROOT / "nbs", copy / "nbs", ignore=shutil.ignore_patterns(".*"))
    (copy / "mcnet").mkdir()
    for by_hand in ("__init__.py", "__main__.py"):
        shutil.copy(PACKAGE / by_hand, copy / "mcnet")
    environment = {key: value for key, value in os.environ.items() if key != "IN_TEST"}
    done = run(sys.executable, "-c", "import nbdev; nbdev.nbdev_export()", cwd=copy, env=environment)
    assert done.returncode == 0, done.stderr
    return copy / "mcnet"


def test_export_in_sync(exported):
    "Exporting every notebook changes no file, adds none and leaves none over."
    fresh = {path.relative_to(exported) for path in exported.rglob("*.py")}
    here = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    assert fresh - here == set(), "exported by a notebook, not in mcnet/; run make export"
    assert here - fresh == set(), "in mcnet/, exported by no notebook"
    for path in sorted(fresh):
        old, new = (PACKAGE / path).read_text().splitlines(), (exported / path).read_text().splitlines()
        change = "\n".join(difflib.unified_diff(old, new, f"mcnet/{path}", "exported afresh", lineterm="", n=1))
        assert not change, f"run make export and commit\n{change[:3000]}"


@pytest.mark.parametrize("path", chapters(), ids=name)
def test_module_is_named_after_its_notebook(path):
    "baseline/05_keypoints.ipynb exports mcnet.baseline.keypoints."
    *wing, module = module_of(path).split(".")
    assert module == path.stem.partition("_")[2]
    assert tuple(wing) == path.parent.relative_to(ROOT / "nbs").parts


HALL = {"core", "course", "doors", "maps", "plots", "weightfile"}
WINGS = {  # a wing: the other wings from which its modules may import
    "heads": set(),
    "baseline": set(),
    "training": {"baseline"},
    "memory": {"baseline"},
    "media": set(),
    "data": {"media", "heads"},
    "animation": {"heads", "baseline", "training", "memory", "media", "data"},
    "evaluation": {"heads", "baseline", "training", "memory", "media", "data", "animation"},
    "explore": {"heads", "baseline", "training", "memory", "media", "data", "animation", "evaluation"},
    "codebooks": {"baseline", "training", "memory", "explore"},
    "cli": {*"heads baseline training memory media data animation evaluation explore codebooks".split()},
}
EXCEPTIONS = {"memory.trial": {"heads", "training"}}  # it trains, and on drawn heads


def imports(path):
    "The modules of the package that a module imports, wherever in the file (nbdev writes them as relative imports)."
    package = ("mcnet", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            whole = base == "mcnet" or base.removeprefix("mcnet.") in WINGS
            targets = [f"{base}.{alias.name}" for alias in node.names] if whole else [base]
        else:
            continue
        yield from ((target, node.lineno) for target in targets if target.startswith("mcnet."))


@pytest.mark.parametrize("path", modules(), ids=name)
def test_imports_follow_the_story(path):
    "A module imports only modules of earlier notebooks."
    order = [f"mcnet.{module_of(notebook)}" for notebook in chapters()]
    here = "mcnet." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    earlier = order[: order.index(here)]
    for module, line in imports(path):
        assert module in earlier, f"{name(path)}:{line} imports {module}, which no earlier notebook exports"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_wings_look_downwards(path):
    "Nets know nothing of files, data or videos; nothing knows what stands above it."
    wing, _, module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).rpartition(".")
    allowed = WINGS[wing] | {wing} | EXCEPTIONS.get(f"{wing}.{module}", set()) if wing else set()
    for target, line in imports(path):
        place = target.split(".")[1]
        where = f"{name(path)}:{line} imports {target}"
        assert place in HALL | allowed, f"{where}; {wing or 'the hall'} may not use {place}"


def test_package_init_imports_nothing_heavy():
    "mcnet/__init__.py, written by hand, imports only the quick parts of the standard library at its top level."
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in body if isinstance(node, ast.ImportFrom)]
    assert {module.split(".")[0] for module in names} <= {"importlib", "os", "sys", "typing"}, names


def test_notebook_numbers_are_unique():
    "No two notebooks share a number and letter."
    places = [path.stem.partition("_")[0] for path in notebooks() if path.stem[0].isdigit()]
    assert len(places) == len(set(places))


def test_settings_hold_no_surprise():
    "The keys on which other tests and the site rely."
    assert settings()["update_pyproject"] == "False" and settings()["lib_path"] == "mcnet"
