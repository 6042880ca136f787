"""How the pages read, in numbers: lines a code cell, and how soon an exported name is spoken of or tested.

    python docs/measure_pages.py           a table, the worst pages first
    python docs/measure_pages.py names     the exported names that nobody mentions nearby

The aims are for lessons: nine of ten code cells have at most 20 lines, and nine of ten exported names stand in one of
the three cells before or behind the one that defines them.
"""

import ast
import json
import re
import sys

from story import Page, Story

NEAR, LINES, SHARE = 3, 20, 0.9


def percentile(values, share):
    "The value that so large a share of all does not exceed."
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


class Measured:
    "One page."

    def __init__(self, page: Page):
        self.page = page
        self.cells = json.loads(page.path.read_text(encoding="utf-8"))["cells"]
        self.sources = ["".join(cell["source"]) for cell in self.cells]
        kinds = [cell["cell_type"] for cell in self.cells]
        bare = [re.sub(r"^#\|.*$", "", source, flags=re.M) for source in self.sources]
        lengths = [sum(bool(line.strip()) for line in text.splitlines()) for text in bare]
        shown = [not re.search(r"^#\|\s*hide", source, re.M) for source in self.sources]
        self.lengths = [n for n, kind, show in zip(lengths, kinds, shown) if kind == "code" and n and show]
        self.names = {name: at for at, kind in enumerate(kinds) if kind == "code" for name in self.exported(at)}
        self.unspoken = sorted(name for name, at in self.names.items() if not self.near(name, at))

    def exported(self, at):
        "The public functions and classes that a cell exports."
        if not re.search(r"^#\|\s*exports?\b", self.sources[at], re.M):
            return []
        kinds = ast.FunctionDef | ast.ClassDef
        nodes = [node for node in ast.parse(self.sources[at]).body if isinstance(node, kinds)]
        return [node.name for node in nodes if not node.name.startswith("_")]

    def near(self, name, at):
        "Do the cells around speak of this name?"
        around = self.sources[max(0, at - NEAR) : at] + self.sources[at + 1 : at + 1 + NEAR]
        return any(re.search(rf"\b{name}\b", source) for source in around)


def summary(pages):
    "(90th percentile of lines, share of names spoken of, number of names)"
    names = sum(len(page.names) for page in pages)
    spoken = names - sum(len(page.unspoken) for page in pages)
    return percentile([n for page in pages for n in page.lengths], SHARE), spoken / max(names, 1), names


def main():
    pages = [Measured(page) for page in Story().numbers.values()]
    if sys.argv[1:] == ["names"]:
        for page in pages:
            print(f"{page.page.place}: {', '.join(page.unspoken) or 'all'}")
        return
    print(f"{'page':34} {'kind':9} cells  p90  names  spoken of")
    for page in sorted(pages, key=lambda page: (page.page.appendix, summary([page])[1])):
        lines, share, names = summary([page])
        kind = "appendix" if page.page.appendix else "lesson"
        spoken = f"{share:.0%}" if names else "–"
        print(f"{page.page.place:34} {kind:9} {len(page.lengths):5}  {lines:3}  {names:5}  {spoken}")
    for kind, appendix in (("lessons", False), ("appendices", True)):
        lines, share, names = summary([page for page in pages if page.page.appendix == appendix])
        print(
            f"all {kind}: 90 % of cells have up to {lines} lines (aim {LINES}); {share:.0%} of {names} names"
        )


if __name__ == "__main__":
    main()
