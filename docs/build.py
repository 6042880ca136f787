"""Build the site into _site/: pages from the notebooks, a reference from the exported cells, then Sphinx.

    python docs/build.py

Nothing is executed, and the finished site asks nothing of any other host: the two scripts it needs (formulas, saved
widgets) are fetched once, through npm, into docs/_vendor. Any warning, and any broken link, is an error.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import time
from configparser import ConfigParser
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

from pages import Notebook, anchors, page, reference, story_order

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENDOR, WORK, SITE = HERE / "_vendor", ROOT / "_proc", ROOT / "_site"
PAGES = WORK / "pages"

SCRIPTS = {  # file: (npm package, path in it, sha256)
    "mathjax.js": (
        "mathjax@3.2.2",
        "package/es5/tex-svg-full.js",
        "a4354ff94fd868aea0cc6eaaa79a57fda0588646fc46ee3700a349ee0a11cbe6",
    ),
    "embed.js": (
        "@jupyter-widgets/html-manager@1.0.15",
        "package/dist/embed.js",
        "8f6d2d3f856d8595d1841dec3019d99bbe74d331f2a5178c2a33bfec729e3d6a",
    ),
}

PARTS = [  # caption, first and last number
    ("Ground", 0, 2),
    ("I · Motion", 3, 6),
    ("II · A first moving face", 7, 9),
    ("III · Memory", 10, 19),
    ("IV · Real people", 20, 29),
    ("V · Judging and seeing", 30, 49),
    ("Relatives", 50, 99),
]


def fetch_scripts():
    "Put the two scripts into docs/_vendor, unless they are there."
    VENDOR.mkdir(exist_ok=True)
    for name, (package, member, digest) in SCRIPTS.items():
        script = VENDOR / name
        if not script.exists():
            if not shutil.which("npm"):
                sys.exit(f"npm is needed to fetch {package} once; install Node.js, or put {member} there as {script}")
            command = ["npm", "pack", "--silent", "--pack-destination", VENDOR, package]
            archive = VENDOR / subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
            with tarfile.open(archive) as packed:
                script.write_bytes(packed.extractfile(member).read())
            archive.unlink()
        if hashlib.sha256(script.read_bytes()).hexdigest() != digest:
            sys.exit(f"{script} is not the file that was tested; remove it and build again")


def toctree(caption, names):
    "A hidden table of contents: a group of the navigation."
    return "```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(names) + "\n```\n"


def contents(notebooks):
    "The navigation: parts of the story, appendices, walkthroughs, reference."
    groups = {caption: [] for caption, _, _ in PARTS} | {"Appendices": [], "Walkthroughs": []}
    for notebook in notebooks:
        number, letter = re.match(r"(\d*)([a-z]?)_?", notebook.path.stem).groups()
        if not number:
            groups["Walkthroughs"] += [notebook.path.stem] if notebook.path.stem != "index" else []
            continue
        part = next(caption for caption, first, last in PARTS if first <= int(number) <= last)
        title = notebook.title.split(":")[0]
        group = "Appendices" if letter and part == "Ground" else part
        groups[group].append(f"{number}{letter} · {title} <{notebook.path.stem}>")
    groups["Reference"] = [f"reference/{notebook.module}" for notebook in notebooks if notebook.module]
    return "\n".join(toctree(caption, entries) for caption, entries in groups.items() if entries)


def write_pages(blob):
    "All source pages, from the notebooks."
    shutil.rmtree(WORK, ignore_errors=True)
    (PAGES / "reference").mkdir(parents=True)
    paths = sorted((ROOT / "nbs").rglob("[!._]*.ipynb"), key=story_order)
    notebooks = [Notebook(path) for path in paths]
    homes = anchors(notebooks)
    for notebook in notebooks:
        content = page(notebook, homes, ROOT, blob)
        if notebook.path.stem == "index":
            content["cells"].append({**content["cells"][0], "id": "contents", "source": contents(notebooks)})
        (PAGES / notebook.path.name).write_text(json.dumps(content, indent=1), encoding="utf-8")
        if notebook.module:
            (PAGES / "reference" / f"{notebook.module}.md").write_text(reference(notebook), encoding="utf-8")
    return notebooks


class Links(HTMLParser):
    "What a page points to, and the places in it that can be pointed to."

    def __init__(self, path):
        super().__init__()
        self.targets, self.places = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.places.add(attributes.get("id"))
        target = attributes.get("href" if tag in ("a", "link") else "src")
        if target:
            self.targets.append((tag, target))


def broken_links(site):
    "Links that lead nowhere, and anything a page would load from another host."
    pages, faults = {path: Links(path) for path in site.rglob("*.html")}, []
    for path, links in pages.items():
        for tag, target in links.targets:
            url = urlparse(target)
            where = f"{path.relative_to(site)}: {target[:100]}"
            if url.scheme in ("http", "https") or target.startswith("//"):
                faults += [f"{where} comes from another host"] if tag != "a" else []
                continue
            if url.scheme:  # data:, mailto:
                continue
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not file.exists():
                faults.append(f"{where} does not exist")
            elif url.fragment and file in pages and unquote(url.fragment) not in pages[file].places:
                faults.append(f"{where} has no such place")
    return faults


def main():
    started = time.perf_counter()
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    settings = config["DEFAULT"]
    fetch_scripts()
    notebooks = write_pages(f"{settings['git_url']}/blob/{settings['branch']}")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-E", "-W", "--keep-going"]
    built = subprocess.run([*command, "-c", HERE, PAGES, WORK / "html"])
    faults = broken_links(WORK / "html") if built.returncode == 0 else ["Sphinx found faults"]
    if faults:
        sys.exit("\n".join(faults))
    shutil.rmtree(SITE, ignore_errors=True)
    (WORK / "html").rename(SITE)
    size = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file()) / 2**20
    print(f"{len(notebooks)} notebooks, {size:.0f} MB in _site/, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
