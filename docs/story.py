"""The order in which the pages are read, and the map that shows it.

    python docs/story.py        write the map anew into nbs/index.ipynb and README.md

The order is that of the files: wing by wing, number by number. What differs is said here, and nowhere else. A page is a
lesson or an appendix (`#| appendix` in its first cell): appendices stand small on the map, and "next" skips them.
"""

import json
import os
import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "nbs"
HALL, HOWTO = "", "tutorials"


class Part(NamedTuple):
    "A part of the story."

    title: str
    wings: tuple[str, ...]  # folders of nbs/, in order; "" is nbs/ itself
    gives: str  # what a reader has at its end


PARTS = (
    Part(
        "Ground",
        (HALL, "heads"),
        "guards against silent mistakes, one style for pictures, drawn people with exact truth",
    ),
    Part("I · Motion and generator", ("baseline",), "a flow for every pixel from a handful of points, and a painter"),
    Part(
        "II · A first moving face", ("training",), "your own network, trained on the page, and the hole it cannot fill"
    ),
    Part("III · Memory", ("memory",), "the paper's contribution, upgrade by upgrade, and the authors' own checkpoint"),
    Part("IV · Real people", ("media", "data", "animation"), "any photo and any video in, a video with sound out"),
    Part("V · Judging", ("evaluation",), "numbers whose definition and blind spots you know, and a benchmark"),
    Part("VI · Relatives", ("speech", "portrait", "codebooks", "memface", "headpose"), "other ways to remember a face"),
    Part("The program", ("explore", "cli"), "an explorer for the memory, and the command line"),
)
WINGS = {  # folder: title, what it is about
    "heads": ("Drawn heads", "People who do not exist, in motion, with the exact truth about every pixel."),
    "baseline": ("Baseline", "Warps, keypoints that nobody labelled, dense motion, and the generator that paints."),
    "training": ("Training", "Losses, recipes, checkpoints, and a network trained on the page."),
    "memory": ("Memory", "What the paper adds to the baseline, one upgrade a page, each put to a fair trial."),
    "media": ("Media", "Pictures and videos in and out; faces, and the square around them."),
    "data": ("Data", "From any folder of clips to pairs of frames for training."),
    "animation": ("Animation", "Weights, whose motion and how much of it, and `Animator`, which does it all."),
    "evaluation": ("Evaluation", "What a number for a picture can see; judges, exact truth, one table, a benchmark."),
    "explore": ("Explorer", "Ask a memory, cut it, and see what becomes of the face."),
    "speech": ("Speech", "Sound as a driver: what the relatives share of it."),
    "portrait": ("Portrait", "What the relatives share."),
    "codebooks": ("Codebooks", "A memory of words: vector-quantized codebooks."),
    "memface": ("Memory for speech", "A memory that answers sound."),
    "headpose": ("Head pose", "Heads that turn by coefficients."),
    "cli": ("Command line", "The program `mcnet`, a thin shell around the library."),
}
BEHIND = {"tps": "dynconv", "curves": "loop"}  # this page is read behind that one, wherever its file lies
TUTORIALS = "photo_and_video", "a_folder_of_each", "a_long_video", "one_person", "from_python", "in_a_notebook"


class Page:
    "What a notebook says about itself."

    def __init__(self, path: Path):
        self.path = path
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        self.appendix = bool(re.search(r"^#\|\s*appendix", "".join(cells[0]["source"]), re.M))
        self.opening = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")

    number = property(lambda page: (re.match(r"\d\d[a-z]?(?=_)", page.path.stem) or [""])[0])
    name = property(lambda page: page.path.stem.removeprefix(f"{page.number}_"))
    wing = property(lambda page: page.path.relative_to(NOTEBOOKS).parent.as_posix().replace(".", ""))
    place = property(lambda page: page.path.relative_to(NOTEBOOKS).as_posix())
    title = property(lambda page: re.search(r"^# (.+)", page.opening, re.M)[1])
    short = property(lambda page: page.title.split(":")[0])
    subtitle = property(lambda page: (re.search(r"^> (.+)", page.opening, re.M) or ["", ""])[1])


class Story:
    "All pages, in the order of their files and in the order in which they are read."

    def __init__(self, folder: Path = NOTEBOOKS):
        paths = [path for path in folder.rglob("[!._]*.ipynb") if ".ipynb_checkpoints" not in path.parts]
        self.pages = [Page(path) for path in sorted(paths, key=lambda path: path.stem)]
        self.numbers = {page.number: page for page in self.pages if page.number}

    def of(self, wing):
        "The numbered pages of a wing, in the order of their files."
        return [page for page in self.numbers.values() if page.wing == wing]

    @cached_property
    def faults(self):
        "What this file says and the notebooks do not, or the other way round."
        names, known = [page.name for page in self.numbers.values()], [w for part in PARTS for w in part.wings]
        faults = [f"docs/story.py: no page is called {n}" for pair in BEHIND.items() for n in pair if n not in names]
        faults += [
            f"docs/story.py does not say where the wing {w} stands"
            for w in {p.wing for p in self.numbers.values()} - {*known}
        ]
        return faults + [
            f"docs/story.py: no tutorial is called {n}"
            for n in TUTORIALS
            if not (NOTEBOOKS / HOWTO / f"{n}.ipynb").exists()
        ]

    def read(self, wing):
        "The lessons that are read in a wing, in order."
        moved = {page.name: page for page in self.numbers.values() if page.name in BEHIND}
        order = []
        for page in self.of(wing):
            if not page.appendix and page.name not in moved:
                order += [
                    page,
                    *(moved[name] for name, before in BEHIND.items() if before == page.name and name in moved),
                ]
        return order

    def appendices(self, wing):
        return [page for page in self.of(wing) if page.appendix]

    @cached_property
    def tutorials(self):
        found = {page.name: page for page in self.pages if page.wing == HOWTO}
        return [found[name] for name in [*TUTORIALS, *sorted({*found} - {*TUTORIALS})] if name in found]

    @cached_property
    def lessons(self):
        return [page for part in PARTS for wing in part.wings for page in self.read(wing)]

    def neighbours(self):
        "page -> (the one before, the one behind): lessons skip appendices, an appendix stands between its files."
        home = next(page for page in self.pages if page.place == "index.ipynb")
        around = {}
        for chain in ([home, *self.lessons], [home, *self.tutorials]):
            for before, page, after in zip([None, *chain], chain, [*chain[1:], None]):
                around.setdefault(page, (before, after))
        around[home] = (None, self.lessons[0])
        for wing in {page.wing for page in self.numbers.values()}:
            chain = self.of(wing)
            for before, page, after in zip([None, *chain], chain, [*chain[1:], None]):
                if page.appendix:
                    around[page] = (before, after)
        return around

    # ---- the map

    def link(self, page, base):
        "A link to a page, from a file in the folder `base`."
        return f"[{page.number or ''} {page.name}]({Path(os.path.relpath(page.path, base)).as_posix()})".replace(
            "[ ", "["
        )

    def map(self, base: Path):
        "The map as a table in Markdown, with links from the folder `base`."
        rows = ["| part | lessons | you have, at its end |", "|---|---|---|"]
        for part in PARTS:
            lessons = [self.link(page, base) for wing in part.wings for page in self.read(wing)]
            small = [self.link(page, base) for wing in part.wings for page in self.appendices(wing)]
            cell = " → ".join(lessons) + "<br>" * bool(lessons and small)
            cell += f"<sub>appendices: {' · '.join(small)}</sub>" if small else ""
            rows += [f"| **{part.title}** | {cell} | {part.gives} |"] if cell else []
        howto = " · ".join(self.link(page, base).replace("_", " ", page.name.count("_")) for page in self.tutorials)
        return "\n".join([*rows, f"| **How to** | {howto} | your own pictures, videos and programs |"])


MARKED = re.compile(r"(<!-- map[^>]*-->\n).*?(\n<!-- end of the map -->)", re.S)


def with_map(text, story, base):
    "The text with a fresh map between its marks."
    return MARKED.sub(lambda match: match[1] + "\n" + story.map(base) + "\n" + match[2], text)


def main():
    story = Story()
    if story.faults:
        raise SystemExit("\n".join(story.faults))
    readme, index = ROOT / "README.md", NOTEBOOKS / "index.ipynb"
    readme.write_text(with_map(readme.read_text(encoding="utf-8"), story, ROOT), encoding="utf-8")
    notebook = json.loads(index.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if MARKED.search("".join(cell["source"])):
            cell["source"] = with_map("".join(cell["source"]), story, NOTEBOOKS).splitlines(keepends=True)
    index.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(story.pages) - 1} pages on the map")


if __name__ == "__main__":
    main()
