"""Turn the notebooks into the pages of the site: their cells, as MyST-NB reads them, and one reference page a module.

Outputs come from the notebooks as they are committed: nothing is executed here. Exported cells are shown, since they
are what a reader came for; hidden cells are folded; names of the package become links to the cell that builds them,
and page numbers to the pages.
"""

import ast
import json
import os
import re
from pathlib import Path

from nbdev.process import NBProcessor
from nbdev.processors import clean_magics, hide_line, rm_header_dash, strip_ansi

PROCESSORS = [strip_ansi, hide_line, rm_header_dash, clean_magics]  # nbdev's, but for those that execute cells
WIDGETS = "application/vnd.jupyter.widget-state+json"
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")
NUMBER = re.compile(r"\b\d\d[a-z]?\b")
MENTION = re.compile(r"\b(?:[Pp]age|[Aa]ppendi)(?:s|x|ces)? \d\d[a-z]?\b(?:(?:, | and | or | to |–)\d\d[a-z]?\b)*")
LEFT_ALONE = re.compile(r"(```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|!?\[[^\]]*\]\([^)]*\))", re.S)


def definitions(source):
    "The public top-level functions and classes of some code."
    kinds = ast.FunctionDef | ast.ClassDef
    return [node for node in ast.parse(source).body if isinstance(node, kinds) and not node.name.startswith("_")]


class Notebook:
    "A notebook, processed; knows which module it exports and what it defines."

    def __init__(self, path: Path):
        self.path = path
        raw = json.loads(path.read_text(encoding="utf-8"))
        self.widgets = raw["metadata"].get("widgets", {})
        self.machine = raw["metadata"].get("mcnet", {}).get("machine", "")  # on which its times were measured
        self.cells = NBProcessor(path, procs=PROCESSORS, process=True).nb.cells
        named = [cell.directives_["default_exp"][0] for cell in self.cells if "default_exp" in cell.directives_]
        self.module = f"mcnet.{named[0]}" if named else None
        self.exported = [c for c in self.cells if c.cell_type == "code" and {"export", "exports"} & set(c.directives_)]
        self.names = [node.name for cell in self.exported for node in definitions(cell.source)]

    @property
    def title(self):
        return re.search(r"^# (.+)", self._opening(), re.M)[1]

    @property
    def subtitle(self):
        found = re.search(r"^> (.+)", self._opening(), re.M)
        return found[1] if found else ""

    def _opening(self):
        return next(cell.source for cell in self.cells if cell.cell_type == "markdown")


def place(module, name):
    "The label of the cell that builds a name. Labels ignore case, names do not: a class is told from a function."
    return f"{module}.{name}" + ("-class" if name[0].isupper() else "")


def anchors(notebooks):
    "name -> the modules that define it"
    homes = {}
    for notebook in notebooks:
        for name in notebook.names:
            homes.setdefault(name, []).append(notebook.module)
    return homes


def linked(text, homes, here):
    "Prose in which `warp` leads to the cell that builds it, once a cell; names defined in several modules stay plain."
    done = set()

    def link(match):
        name = match[2].removesuffix("()").split(".")[-1]
        module = match[2].rpartition(".")[0]
        places = [home for home in homes.get(name, []) if not module or home.split(".")[-1] == module.split(".")[-1]]
        if len(places) != 1 or places[0] == here or name in done:
            return match[0]
        done.add(name)
        return f"[`{match[2]}`](#{place(places[0], name)})"

    return re.sub(r"(?<![\[`\\])(`)([A-Za-z_][\w.]*(?:\(\))?)`(?![`\]])", link, text)


def relinked(text, path, root, blob):
    "Links that leave the folder of notebooks lead to the repository."

    def link(match):
        target = (path.parent / match[1]).resolve()
        if re.match(r"\w+:", match[1]) or (root / "nbs") in target.parents or not target.exists():
            return match[0]
        return f"{blob}/{target.relative_to(root).as_posix()}"

    return LINK.sub(link, text)


def numbered(text, path, numbers):
    'Prose in which "page 20d" and "pages 03a, 04 and 06" lead there; code, formulas and links stay as they are.'

    def link(match):
        target = numbers.get(match[0])
        if target is None or target == path:
            return match[0]
        return f"[{match[0]}]({Path(os.path.relpath(target, path.parent)).as_posix()})"

    pieces = LEFT_ALONE.split(text)
    pieces[::2] = [MENTION.sub(lambda found: NUMBER.sub(link, found[0]), piece) for piece in pieces[::2]]
    return "".join(pieces)


def markdown_cell(text):
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def folded(cell, options, source, heading, module):
    "What stands on the fold of a code cell, or None for a cell that is shown."
    if options.get("code-fold") == "true":
        return "Show one solution" if "Exercise" in heading else "Show the code"
    hidden = "hide" in cell.directives_
    if (hidden or module) and only_imports(source):
        return "Show the imports"
    return "Show the preparation" if hidden else None


def only_imports(source):
    "Does this code import, and nothing else? (Magics are not Python.)"
    try:
        return {type(node) for node in ast.parse(source).body} <= {ast.Import, ast.ImportFrom}
    except SyntaxError:
        return False


def code_cell(cell, heading, module):
    "A code cell without its directives, with the tags that MyST-NB understands."
    options = {key.rstrip(":"): " ".join(values) for key, values in cell.directives_.items()}
    source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip("\n")
    tags = [tag for tag, off in (("remove-input", "echo"), ("remove-output", "output")) if options.get(off) == "false"]
    metadata = {"mystnb": {"image": {"alt": options.get("fig-alt", f"Figure: {heading}")}}}
    if prompt := folded(cell, options, source, heading, module):
        tags.append("hide-input")
        metadata["mystnb"]["code_prompt_show"] = prompt
    outputs = [{**output, "metadata": output.get("metadata", {})} for output in cell.get("outputs", [])]
    count = cell.get("execution_count")
    return {
        "cell_type": "code",
        "metadata": {**metadata, "tags": tags},
        "source": source,
        "outputs": outputs,
        "execution_count": count,
    }


def page(notebook, homes, numbers, root, blob):
    "The notebook as MyST-NB is to read it."
    cells, heading, module = [], "", notebook.module
    for cell in notebook.cells:
        empty = not re.sub(r"^#\|.*$", "", cell.source, flags=re.M).strip()
        if empty or "nbdev_export()" in cell.source:
            continue
        if cell.cell_type == "markdown":
            text = numbered(relinked(cell.source, notebook.path, root, blob), notebook.path, numbers)
            headings = re.findall(r"^#+ (.+)", text, re.M)
            heading = re.sub(r"[`*$]", "", headings[-1]) if headings else heading
            cells.append(markdown_cell(linked(text, homes, module)))
        elif cell.cell_type == "code":
            if cell in notebook.exported:
                targets = [f"({place(module, node.name)})=" for node in definitions(cell.source)]
                cells += [markdown_cell("\n".join(targets))] if targets else []
            cells.append(code_cell(cell, heading, module))
    if module:  # what the index and the search know the page by: "memory bank" is memory.bank
        name = module.removeprefix("mcnet.").replace(".", " ").replace("_", " ")
        cells.insert(0, markdown_cell("```{index} ! " + name + "\n```"))
    for number, cell in enumerate(cells):
        cell["id"] = f"c{number}"
    kernel = {"display_name": "python3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    if notebook.widgets:
        metadata["widgets"] = notebook.widgets
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


# ---- the reference


def header(node, lines):
    "The lines of a definition up to its docstring, with the comments that document its arguments."
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return lines[first - 1 : node.body[0].lineno - 1]


def outline(node, lines):
    "What a caller needs of a function or class: signature, fields, public methods."
    shown = header(node, lines)
    for item in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(item, ast.AnnAssign):
            shown += lines[item.lineno - 1 : item.end_lineno]
        elif isinstance(item, ast.FunctionDef) and (item.name == "__init__" or not item.name.startswith("_")):
            shown += ["", *header(item, lines)]
    return "\n".join(shown).strip("\n")


def reference(notebook):
    "The reference page of a module, as MyST."
    short = notebook.module
    built = f"../{notebook.path.parent.name}/{notebook.path.name}".replace("/nbs/", "/")
    parts = [f"# {short}", f"> {notebook.subtitle}", f"Built on the page [{notebook.title}]({built})."]
    for cell in notebook.exported:
        lines = cell.source.splitlines()
        for node in definitions(cell.source):
            text = ast.get_docstring(node) or ""
            parts += [
                f"({place(short, node.name)}-reference)=\n## {node.name}",
                f"{text} [Where it is built](#{place(short, node.name)})",
                f"```python\n{outline(node, lines)}\n```",
            ]
    return "\n\n".join(parts) + "\n"
