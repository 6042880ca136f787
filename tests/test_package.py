"The installed package: quick to import, one version everywhere, complete in a wheel that is built from the sources."

import ast
import os
import re
import resource
import shutil
import sys
import tarfile
import zipfile

import pytest
from repository import PACKAGE, ROOT, modules, run, script, settings


def processor_seconds(*command, code=0):
    "Processor time of a command."
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == code, done.stderr
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


IMPORTING_TYPER = 0.15  # s on a free machine


def seconds_when_free(*command, code=0):
    "The same as it would be on a free machine: the smallest of five, in units of what importing typer costs just now."
    pairs = [(processor_seconds(*command, code=code), processor_seconds(sys.executable, "-c", "import typer"))
             for _ in range(5)]  # fmt: skip
    spent, unit = map(min, zip(*pairs))
    return spent / max(1, unit / IMPORTING_TYPER)


def test_import_is_quick():
    "import mcnet takes at most 0.05 s more than Python itself."
    bare = seconds_when_free(sys.executable, "-c", "pass")
    assert seconds_when_free(sys.executable, "-c", "import mcnet") - bare <= 0.05


def test_help_is_quick():
    "mcnet --help takes at most 0.3 s."
    assert seconds_when_free(script("mcnet"), "--help") <= 0.3


def test_a_wrong_path_is_answered_quickly():
    "A picture that is not there is named within 0.6 s: PyTorch is not waited for."
    words = "--source", "nobody.png", "--driving", "nobody.mp4", "--out", "out.mp4"
    assert seconds_when_free(script("mcnet"), "animate", *words, code=2) <= 0.6


def test_the_list_of_weights_is_quick():
    "mcnet weights list takes at most 0.5 s."
    assert seconds_when_free(script("mcnet"), "weights", "list") <= 0.5


QUICK = "mcnet", "mcnet.cli.main", "mcnet.doors", "mcnet.animation.weights"


@pytest.mark.parametrize("statement", [f"import {module}" for module in QUICK])
def test_import_is_light(statement):
    "Neither torch nor kornia nor matplotlib is imported before it is needed."
    done = run(sys.executable, "-c", f"{statement}, sys; print(*sys.modules, sep='\\n')")
    assert done.returncode == 0, done.stderr
    heavy = {"torch", "kornia", "matplotlib", "numpy", "accelerate"} & set(done.stdout.split())
    assert not heavy


def test_lazy_attributes():
    "Every name that the package offers can be had from it, and others are refused as usual."
    code = """
import mcnet
for name in dir(mcnet):
    getattr(mcnet, name)
assert mcnet.memory.__name__ == "mcnet.memory" and callable(mcnet.train) and callable(mcnet.evaluate)
for name in ("no_such_name", "_repr_html_", "__main__"):
    try:
        getattr(mcnet, name)
    except AttributeError as error:
        print(error)
"""
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3 and "no_such_name" in done.stdout


def test_the_public_face():
    "What type checkers read, what is offered and where it lives agree; and no public name hides a wing."
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
        if node.level
    }  # fmt: skip
    import mcnet

    assert imported == mcnet._HOME and sorted(mcnet.__all__) == mcnet.__all__ == sorted(imported)
    wings = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not wings & set(mcnet.__all__)


def test_python_m():
    "`python -m mcnet` is the command."
    assert run(sys.executable, "-m", "mcnet", "--version").stdout == run(script("mcnet"), "--version").stdout != ""


WAITING = """
import os, sys
from mcnet.cli.doctor import waiting_threads
print(waiting_threads(os.environ.get("OMP_WAIT_POLICY")), "torch" in sys.modules)
"""


@pytest.mark.parametrize(("given", "kept"), [(None, "passive"), ("active", "active")])
def test_waiting_threads_sleep(given, kept):
    "Set before PyTorch is loaded, unless the user set it; the doctor says so."
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    done = run(sys.executable, "-c", WAITING, env=environment)
    assert f"OMP_WAIT_POLICY={kept}" in done.stdout and done.stdout.endswith(" False\n"), done.stderr


def test_loaded_torch_is_left_alone():
    "Too late to set anything: then nothing is set, and the doctor says so."
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    code = f"import sys; sys.modules['torch'] = None; {WAITING}"
    assert run(sys.executable, "-c", code, env=environment).stdout.startswith("spin, for PyTorch was there")


def test_one_version():
    "settings.ini, the package, its metadata, the command, the citation and the changelog agree."
    version = settings()["version"]
    code = "import importlib.metadata as m, mcnet; print(mcnet.__version__, m.version('mcnet'))"
    assert run(sys.executable, "-c", code).stdout.split() == [version, version]
    assert version in run(script("mcnet"), "--version").stdout
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest[1] == version


@pytest.fixture(scope="module")
def distribution(tmp_path_factory):
    "The source distribution, built from a copy of what git holds of the package."
    folder = tmp_path_factory.mktemp("sources")
    listed = re.search(r"^include (settings.ini.*)$", (ROOT / "MANIFEST.in").read_text(encoding="utf-8"), re.M)
    for part in ("setup.py", "MANIFEST.in", *listed[1].split()):
        shutil.copy(ROOT / part, folder)
    shutil.copytree(PACKAGE, folder / "mcnet", ignore=shutil.ignore_patterns("__pycache__"))
    done = run(sys.executable, "setup.py", "--quiet", "sdist", cwd=folder)
    assert done.returncode == 0, done.stderr
    (archive,) = (folder / "dist").glob("*.tar.gz")
    return archive


def test_wheel_is_complete(distribution, tmp_path):
    "A wheel built from the source distribution holds every module and shipped file, and nothing else."
    with tarfile.open(distribution) as file:
        file.extractall(tmp_path, filter="data")
    (sources,) = tmp_path.iterdir()
    options = "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", tmp_path / "wheels"
    done = run(sys.executable, "-m", "pip", "wheel", *options, ".", cwd=sources)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assets = {path for folder in ("assets", "explore/web") for path in (PACKAGE / folder).glob("*") if path.is_file()}
    by_hand = {*PACKAGE.rglob("__init__.py"), PACKAGE / "__main__.py", PACKAGE / "py.typed", PACKAGE / "_modidx.py"}
    assert held == {path.relative_to(ROOT).as_posix() for path in {*by_hand, *modules(), *assets}}
