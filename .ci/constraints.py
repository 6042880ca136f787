"""Write constraints.txt: the versions of everything that settings.ini asks for, as installed in this environment.

Run it after a full, green `make test docs` in an environment made by `make`:  .venv/bin/python .ci/constraints.py
"""

import re
import shlex
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
FIRST = "torch"  # installed before the rest, so it heads the list

HEADER = """\
# Every version that was tested, written by .ci/constraints.py. `make` installs with it; so can you:
#   pip install -c constraints.txt torch && pip install -c constraints.txt .
"""


def closure(requirements):
    "name -> version of the installed packages that `requirements` need, directly or not"
    found, queue = {}, [Requirement(text) for text in requirements]
    while queue:
        requirement = queue.pop()
        for extra in requirement.extras or {""}:
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if (name, extra) in found:
                continue
            try:
                package = distribution(requirement.name)
            except PackageNotFoundError:
                continue  # for another platform
            found[name, extra] = package.version.split("+")[0]
            for text in package.requires or []:
                needed = Requirement(text)
                if not needed.marker or needed.marker.evaluate({"extra": extra}):
                    needed.marker = None
                    queue.append(needed)
    return {name: version for (name, _), version in found.items()}


def kept(wanted):
    "Pins of the old file for what is asked for and cannot be installed beside the rest (OpenCV beside MediaPipe)."
    old = dict(re.findall(r"^([\w-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.M))
    return {name: old[name] for name in (Requirement(text).name for text in wanted) if name in old}


def main():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    settings = config["DEFAULT"]
    wanted = [text for key in settings if key.endswith("requirements") for text in shlex.split(settings[key])]
    pins = kept(wanted) | closure(wanted)
    names = sorted(pins, key=lambda name: (name != FIRST, name))
    (ROOT / "constraints.txt").write_text(HEADER + "".join(f"{name}=={pins[name]}\n" for name in names))
    print(f"{len(names)} pins written to constraints.txt")


if __name__ == "__main__":
    main()
