"The repository as data: its notebooks in story order, their cells, its modules, its settings."

import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MCNET_DATA") or ROOT.parent / "shared" / "data")  # recorded clips: not everybody has them
PACKAGE = ROOT / "mcnet"
NUMBERED = re.compile(r"(\d\d)([a-z]?)_(\w+)")
DIRECTIVE = re.compile(r"^#\|\s*([\w-]+):?[ \t]*(.*)$", re.M)


class Cell(NamedTuple):
    "One notebook cell."

    number: int
    kind: str  # code, markdown or raw
    source: str
    outputs: list  # as in the file
    executed: bool

    @property
    def directives(self) -> dict[str, str]:
        "`#| export` gives {'export': ''}, `#| code-fold: true` gives {'code-fold': 'true'}."
        return dict(DIRECTIVE.findall(self.source))

    @property
    def code(self) -> str:
        "The source without directives."
        return DIRECTIVE.sub("", self.source).strip()

    @property
    def exported(self) -> bool:
        return self.kind == "code" and bool({"export", "exporti", "exports"} & set(self.directives))


@cache
def settings():
    "settings.ini"
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def story_order(path):
    "The order of the numbers, which is the order of the files in a folder; pages without a number come last."
    return path.stem if NUMBERED.fullmatch(path.stem) else f"~{path.stem}"


def notebooks():
    "All notebooks, in story order (also those in sub-folders)."
    found = (path for path in (ROOT / "nbs").rglob("*.ipynb") if not any(p[0] in "._" for p in path.parts[-2:]))
    return sorted(found, key=story_order)


def name(path):
    "What a test of this file is called."
    return path.relative_to(ROOT).as_posix()


@cache
def cells(path):
    "The cells of a notebook."
    return [
        Cell(
            number,
            cell["cell_type"],
            "".join(cell["source"]),
            cell.get("outputs", []),
            cell.get("execution_count") is not None,
        )
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"])
    ]


def module_of(path):
    "The module a notebook exports, `memory.bank` style, or None."
    for cell in cells(path):
        if "default_exp" in cell.directives:
            return cell.directives["default_exp"].strip()
    return None


def chapters():
    "Notebooks that export a module, in story order."
    return [path for path in notebooks() if module_of(path)]


def is_appendix(path):
    "Is this page marked as plumbing, in its first cell?"
    return "appendix" in cells(path)[0].directives


def modules():
    "The exported Python files."
    return sorted(path for path in PACKAGE.rglob("*.py") if not path.name.startswith("_"))


def tracked():
    "Files that belong to the repository: git's list where there is git, else everything that is not built."
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        files = [ROOT / line for line in listed.stdout.split("\0") if line]
    else:
        built = {".venv", "_proc", "_site", "_src", "__pycache__", "build", "dist", "out", "runs"}
        files = [path for path in ROOT.rglob("*") if not built & set(path.relative_to(ROOT).parts)]
    return sorted(path for path in files if path.is_file())


def run(*command, **options):
    "Run a command in the repository and return it with its output as text."
    options = {"cwd": ROOT, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run([str(word) for word in command], **options)


def script(command):
    "The path of a command that the package or its tools installed beside this Python."
    return Path(sys.executable).parent / command
