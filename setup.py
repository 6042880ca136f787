"Packaging for `mcnet`: every value comes from settings.ini, which nbdev reads too."
import shlex
from configparser import ConfigParser
from pathlib import Path

import setuptools

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
EXTRA = "_requirements"  # face_requirements is the extra `face`, and so on

setuptools.setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    author=settings["author"],
    license="Apache-2.0",
    url=settings["git_url"],
    keywords=settings["keywords"].split(),
    packages=setuptools.find_packages(include=["mcnet", "mcnet.*"]),
    package_data={"mcnet": ["assets/*", "explore/web/*", "py.typed"]},
    install_requires=shlex.split(settings["requirements"]),
    extras_require={key.removesuffix(EXTRA): shlex.split(settings[key]) for key in settings if key.endswith(EXTRA)},
    python_requires=">=" + settings["min_python"],
    zip_safe=False,
    classifiers=[
        "Programming Language :: Python :: 3",
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    entry_points={
        "console_scripts": [line for line in settings["console_scripts"].split("\n") if line.strip()],
        "nbdev": [f"{settings['lib_name']}={settings['lib_path']}._modidx:d"],
    },
)
