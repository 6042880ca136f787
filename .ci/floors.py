"Print the oldest versions that settings.ini allows, as constraints: python .ci/floors.py > floors.txt"

import re
import shlex
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def floors() -> dict[str, str]:
    "name -> oldest version of what the package itself requires"
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    wanted = shlex.split(config["DEFAULT"]["requirements"])
    return dict(re.fullmatch(r"([\w-]+)>=([\d.]+)(?:,<[\d.]+)?", requirement).groups() for requirement in wanted)


if __name__ == "__main__":
    for name, version in floors().items():
        print(f"{name}=={version}" if version.count(".") else f"{name}=={version}.*")
