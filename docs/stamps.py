"""What the outputs of a page were made with, as one hash: when the hash of the code has changed, they are stale.

The hash covers the page's own cells that run and, of the package, the definitions these use, whatever those use, and
so on. Comments, docstrings and layout do not count, nor does code that the page cannot reach; so a change in `core`
asks only for those pages to be run again whose outputs it can change. What is chosen by a string or a method's name
alone is not seen.
"""

import ast
import hashlib
import json
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEY = "mcnet"  # of the notebook's metadata: {"code": hash, "machine": where the times were measured}
LEFT_OUT = "#| eval: false", "nbdev_export()"
LISTS = ["__all__"], ["_all_"]  # they repeat the names of what is defined, in the order of the cells
BODIES = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def essence(node):
    "A syntax tree as text, the same in every Python, without docstrings, comments and places."
    if isinstance(node, list):
        return f"[{' '.join(map(essence, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, BODIES) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    return f"({type(node).__name__} {' '.join(f'{name}={essence(value)}' for name, value in fields.items())})"


def references(tree):
    "What a piece of code names: ('warp', None), and ('faces', 'render') for faces.render."
    if isinstance(tree, ast.Name):
        yield tree.id, None
    elif isinstance(tree, ast.Attribute) and isinstance(tree.value, ast.Name):
        yield tree.value.id, tree.attr
    else:
        for node in ast.iter_child_nodes(tree):
            yield from references(node)


class Module:
    "The definitions of some code, and what it imports of the package."

    def __init__(self, package, name, source, is_folder=False):
        self.package, self.name = package, name
        tree = ast.parse(source)
        self.defined, self.always, self.imported = {}, [], {}
        for node in tree.body[ast.get_docstring(tree, clean=False) is not None :]:
            self.sort(node)
        folder = name.split(".") if is_folder else name.split(".")[:-1]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                above = folder[: len(folder) - node.level + 1] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                self.imported |= {alias.asname or alias.name: (origin, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                self.imported |= {a.asname or a.name.split(".")[0]: (a.name, None) for a in node.names}

    def sort(self, node):
        "A statement of the top level: a definition, an import, or something that always happens."
        if isinstance(node, ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            stored = [node.name]
        else:
            stored = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        if stored in LISTS:
            return
        for name in stored:
            self.defined.setdefault(name, []).append(node)
        decorators = [ast.unparse(found).split(".")[0].split("(")[0] for found in getattr(node, "decorator_list", [])]
        if not stored or set(decorators) & {*self.defined}:  # @app.command registers: nobody names it later
            self.always.append(node)


class Code:
    "The package as a web of definitions."

    def __init__(self, package: Path = ROOT / "mcnet"):
        self.package = package
        self.module = cache(self._module)
        self.uses = cache(self._uses)

    def _module(self, name):
        "A module by its dotted name, or None when it is not one of the package's."
        path = self.package.parent / Path(*name.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if name.split(".")[0] == self.package.name and file.exists():
                return Module(self.package, name, file.read_text(encoding="utf-8"), file.stem == "__init__")
        return None

    def lead(self, module, name, attribute=None):
        "The definitions, as (module, name), behind a name in a module; name None stands for the whole module."
        if name in module.defined:
            return [(module.name, name)]
        origin, original = module.imported.get(name, (None, None))
        if origin is None:
            return []
        whole = origin if original is None else f"{origin}.{original}"
        if target := self.module(whole):  # a module: all of it, unless one name of it is taken
            homes = target.defined.get("_HOME") and ast.literal_eval(target.defined["_HOME"][0].value)
            if attribute is None:
                return [(whole, None)]
            return [(whole, attribute)] if not homes else self.at_home(whole, homes, attribute)
        target = self.module(origin)
        if not target:
            return []
        homes = target.defined.get("_HOME") and ast.literal_eval(target.defined["_HOME"][0].value)
        return self.at_home(origin, homes, original) if homes else [(origin, original)]

    def at_home(self, package, homes, name):
        "Where a name lives that the package only passes on."
        return [(f"{package}.{homes[name]}", name)] if name in homes else [(package, None)]

    def _uses(self, place):
        "(hash, further places) of a definition."
        module, name = self.module(place[0]), place[1]
        if module is None:
            return "", []
        if name is None:
            nodes, further = module.always, [(place[0], other) for other in module.defined]
        elif name in module.defined:
            nodes, further = module.defined[name], [(place[0], "")]
        elif name == "":  # what happens whenever the module is imported
            nodes, further = module.always, []
        else:
            return "", self.lead(module, name)
        for pair in {pair for node in nodes for pair in references(node)}:
            further += self.lead(module, *pair)
        return hashlib.sha256("".join(map(essence, nodes)).encode()).hexdigest(), further

    def reach(self, places):
        "The hashes of all definitions that are reached from these, in a fixed order."
        seen, waiting = {}, list(places)
        while waiting:
            place = waiting.pop()
            if place not in seen:
                seen[place], further = self.uses(place)
                waiting += further
        return "".join(sorted(seen.values()))

    def stamp(self, cells):
        "The hash for a page with these sources of code cells."
        kept = "\n".join(source for source in cells if not any(mark in source for mark in LEFT_OUT))
        magic = re.findall(r"^\s*(?:!|%%?\w+).*", kept, re.M)
        plain = re.sub(r"^(\s*)(?:!.*|%%?\w+ ?)", r"\1", kept, flags=re.M)  # of `%time f()` the f() is code
        page = Module(self.package, "page", plain)
        tree = ast.parse(plain)
        places = {place for pair in set(references(tree)) for place in self.lead(page, *pair) if place[0] != "page"}
        whole = "\n".join([essence(tree), *magic, self.reach(places)])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def sources(notebook: dict):
    "The sources of the code cells of a notebook, as its file has it."
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def is_stale(path: Path, code: Code):
    "Were the outputs of this notebook made with other code than there is now, or does nobody know?"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return notebook["metadata"].get(KEY, {}).get("code") != code.stamp(sources(notebook))
