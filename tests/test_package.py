"The installed package: quick to import, one version everywhere, complete in a wheel."

import re
import resource
import shutil
import statistics
import sys
import zipfile

import pytest
from repository import PACKAGE, ROOT, modules, run, script, settings


def processor_seconds(*command):
    "Median processor time of a command over five runs; a busy machine does not change it much."
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run(*command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return statistics.median(spent)


def test_import_is_quick():
    "import mcnet takes at most 0.2 s more than Python itself."
    bare = processor_seconds(sys.executable, "-c", "pass")
    assert processor_seconds(sys.executable, "-c", "import mcnet") - bare <= 0.2


def test_help_is_quick():
    "mcnet --help takes at most 0.5 s."
    assert processor_seconds(script("mcnet"), "--help") <= 0.5


@pytest.mark.parametrize("statement", ["import mcnet", "import mcnet.cli.main"])
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
try:
    mcnet.no_such_name
except AttributeError as error:
    print(error)
"""
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "no_such_name" in done.stdout


def test_one_version():
    "settings.ini, the package, its metadata, the command, the citation and the changelog agree."
    version = settings()["version"]
    code = "import importlib.metadata as m, mcnet; print(mcnet.__version__, m.version('mcnet'))"
    assert run(sys.executable, "-c", code).stdout.split() == [version, version]
    assert version in run(script("mcnet"), "--version").stdout
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest[1] == version


def test_wheel_is_complete(tmp_path):
    "The wheel holds every module and every shipped weight, and nothing else of the repository."
    for part in ("settings.ini", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / part, tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "mcnet", ignore=shutil.ignore_patterns("__pycache__"))
    options = "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", tmp_path / "wheels"
    done = run(sys.executable, "-m", "pip", "wheel", *options, ".", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assets = {path for path in (PACKAGE / "assets").glob("*") if path.is_file()}
    wanted = {*PACKAGE.rglob("__init__.py"), PACKAGE / "_modidx.py", *modules(), *assets}
    assert held == {path.relative_to(ROOT).as_posix() for path in wanted}
