"""Build the site into _site/: pages from the notebooks, a reference from the exported cells, then Sphinx.

    python docs/build.py

No page is executed, and the finished site asks nothing of any other host: the two scripts it needs (formulas, saved
widgets) are fetched once, through npm, into docs/_vendor, and the explorer is written as one file beside the pages. Any
warning, and any broken link, is an error.
"""

import hashlib
import html
import json
import os
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

from pages import Notebook, anchors, markdown_cell, page, reference
from story import MARKED, PARTS, WINGS, Story

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


def toctree(entries, caption=""):
    "A hidden table of contents: a group of the navigation."
    named = f":caption: {caption}\n" if caption else ""
    return "```{toctree}\n:hidden:\n" + named + "\n" + "\n".join(entries) + "\n```\n"


def entry(page):
    "A page in the navigation."
    return f"{page.number} · {page.short} </{page.place.removesuffix('.ipynb')}>".removeprefix(" · ")


def line(page, base=""):
    "A page in a list."
    target = os.path.relpath(page.place, base or ".")
    return f"- [{page.number} · {page.title}]({target})".replace("[ · ", "[") + f"\n\n  {page.subtitle}"


def wing_pages(story):
    "A page for each wing, one for all appendices: what lies there, and its group of the navigation."
    written, plumbing = {}, []
    for wing in [wing for part in PARTS for wing in part.wings]:
        lessons, appendices = story.read(wing), story.appendices(wing)
        if wing and lessons:
            title, about = WINGS[wing]
            listed = "\n".join(line(page, wing) for page in lessons)
            listed += "\n\n## Appendices\n\n" * bool(appendices) + "\n".join(line(page, wing) for page in appendices)
            written[f"{wing}/index.md"] = f"# {title}\n\n> {about}\n\n{listed}\n\n{toctree(map(entry, lessons))}"
        if appendices:
            title = WINGS[wing][0] if wing else "Ground"
            plumbing.append(
                f"## {title}\n\n" + "\n".join(map(line, appendices)) + "\n\n" + toctree(map(entry, appendices))
            )
    about = "Plumbing, and how the drawn heads are made: built and tested like the lessons, for those who want to know."
    written["appendices.md"] = f"# Appendices\n\n> {about}\n\n" + "\n\n".join(plumbing) + "\n"
    return written


def contents(story, written):
    "The navigation of the home page: parts with their wings, walkthroughs, appendices, reference."
    groups = {}
    for part in PARTS:
        groups[part.title] = [entry(page) for page in story.read("")] if "" in part.wings else []
        groups[part.title] += [f"/{wing}/index" for wing in part.wings if f"{wing}/index.md" in written]
    groups["How to"] = [entry(page) for page in story.tutorials]
    groups["To look things up"] = ["/appendices", "/reference/index", "Index <genindex>"]
    return "\n".join(toctree(entries, caption) for caption, entries in groups.items() if entries)


def tiles(story):
    "The map of the home page: lessons as tiles, appendices small."

    def tile(page, look):
        text = f"<b>{page.number}</b> {page.name.replace('_', ' ')}"
        target, title = page.place.replace(".ipynb", ".html"), html.escape(page.title)
        return f'<a class="{look}" href="{target}" title="{title}">{text}</a>'

    rows = []
    for part in PARTS:
        pages = [tile(page, "lesson") for wing in part.wings for page in story.read(wing)]
        pages += [tile(page, "appendix") for wing in part.wings for page in story.appendices(wing)]
        if pages:
            rows.append(f"<dt>{part.title}<small>{part.gives}</small></dt><dd>{''.join(pages)}</dd>")
    howto = "".join(tile(page, "lesson") for page in story.tutorials)
    rows.append(f"<dt>How to<small>your own pictures, videos and programs</small></dt><dd>{howto}</dd>")
    return '```{raw} html\n<dl class="map">' + "\n".join(rows) + "</dl>\n```"


def on_the_site(notebook, story, blob):
    "What differs between a notebook and its page: the map, the moving picture, the link to the notebook."

    def moving(match):
        still = match[2].replace(".webp", ".png")
        alt = html.escape(match[1], quote=True)
        quiet = f"<source media='(prefers-reduced-motion: reduce)' srcset='_static/{still}'>"
        loop = f"<img src='_static/{match[2]}' alt='{alt}' width='576' height='192'>"
        return f"```{{raw}} html\n<picture class='moving'>{quiet}{loop}</picture>\n```"

    for cell in notebook["cells"]:
        cell["source"] = MARKED.sub(lambda _: tiles(story), cell["source"])
        cell["source"] = re.sub(rf"!\[([^\]]*)\]\({blob}/docs/images/([\w-]+\.webp)\)", moving, cell["source"])
    return notebook


def write_pages(blob):
    "All source pages, from the notebooks."
    shutil.rmtree(WORK, ignore_errors=True)
    story = Story()
    if story.faults:
        sys.exit("\n".join(story.faults))
    notebooks = {page: Notebook(page.path) for page in story.pages}
    homes, numbers = anchors(notebooks.values()), {number: page.path for number, page in story.numbers.items()}
    written = wing_pages(story)
    for known, notebook in notebooks.items():
        content = on_the_site(page(notebook, homes, numbers, ROOT, blob), story, blob)
        timed = f" · Times on it: {notebook.machine}" * bool(notebook.machine)
        source = f"{{.source}}\n[This page as a notebook]({blob}/nbs/{known.place}){timed}\n"
        ending = contents(story, written) if known.place == "index.ipynb" else ""
        content["cells"] += [
            {**markdown_cell(text), "id": key} for key, text in (("source", source), ("end", ending)) if text
        ]
        written[known.place] = json.dumps(content, indent=1)
        if notebook.module:
            written[f"reference/{notebook.module}.md"] = reference(notebook)
    modules = [notebook.module for notebook in notebooks.values() if notebook.module]
    listed = "\n".join(f"- [{module}]({module}.md)" for module in modules)
    written["reference/index.md"] = (
        f"# Reference\n\n> Every module: signatures, and where they are built.\n\n{listed}\n\n{toctree(modules)}"
    )
    for name, text in written.items():
        (PAGES / name).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / name).write_text(text, encoding="utf-8")
    (WORK / "about.json").write_text(json.dumps(about(story, notebooks)), encoding="utf-8")
    return story


def write_explorer(site):
    "The explorer of the smallest network as a page of the site, into which stills become live."
    from mcnet.animation.weights import load_network
    from mcnet.explore.engine import Engine
    from mcnet.explore.oracles import draw_subject
    from mcnet.explore.page import write_page

    network = load_network("tiny-synthetic").eval()
    engine = Engine(network, draw_subject(network.config.image_size))
    write_page(engine, site / "explorer.html", "The memory of tiny-synthetic")


def about(story, notebooks):
    "What the theme is told of each page: its neighbours in the story, a description, whether it has widgets."

    def named(page):
        return page and [page.place.removesuffix(".ipynb"), f"{page.number} {page.short}".strip()]

    around = story.neighbours()
    return {
        page.place.removesuffix(".ipynb"): {
            "neighbours": [named(other) for other in around[page]],
            "description": re.sub(r"[`*_$]|\]\([^)]*\)|\[", "", page.subtitle),
            "widgets": bool(notebook.widgets),
        }
        for page, notebook in notebooks.items()
    }


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
        if target and attributes.get("rel") != "canonical":
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
    story = write_pages(f"{settings['git_url']}/blob/{settings['branch']}")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-E", "-W", "--keep-going"]
    built = subprocess.run([*command, "-c", HERE, PAGES, WORK / "html"])
    if built.returncode:
        sys.exit("Sphinx found faults")
    write_explorer(WORK / "html")
    faults = broken_links(WORK / "html")
    if faults:
        sys.exit("\n".join(faults))
    shutil.rmtree(SITE, ignore_errors=True)
    (WORK / "html").rename(SITE)
    size = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file()) / 2**20
    print(f"{len(story.pages)} notebooks, {size:.0f} MB in _site/, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
