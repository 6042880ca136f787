"The rules that keep the repository readable: of modules, of notebooks, of every file."

import ast
import json
import re
import sys

import pytest
from repository import (
    PACKAGE,
    ROOT,
    cells,
    chapters,
    is_appendix,
    modules,
    name,
    notebooks,
    run,
    settings,
    tracked,
)

MODULE_LINES, EXPORTED_LINES, CELL_LINES, FUNCTION_LINES, FORWARD_LINES, COLUMNS = 450, 45, 60, 40, 25, 120
POSITIONAL = 6  # arguments, self included
PICTURE_BYTES, OUTPUT_LINES, FILE_BYTES = 200_000, 30, 3 * 2**20
PROSE_WORDS = 100
NO_PICTURE = ("core", "cli")  # pages about text
UNTYPED = {"ax"}  # matplotlib's axes, by everybody's habit

every_module = pytest.mark.parametrize("path", modules(), ids=name)
every_notebook = pytest.mark.parametrize("path", notebooks(), ids=name)
every_chapter = pytest.mark.parametrize("path", chapters(), ids=name)


def listed(faults):
    "One fault a line, so that a failure can be read."
    return "\n" + "\n".join(str(fault) for fault in faults)


# ---- modules


def calls(tree):
    "(dotted name, node) of every call: `torch.load`, `image.cuda` -> `.cuda`."
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@every_module
def test_module_keeps_away_from(path):
    "No .cuda(), star import, eval, exec, bare except or torch.load that could run code; assert is for tests."
    tree, faults = ast.parse(path.read_text(encoding="utf-8")), []
    for function, node in calls(tree):
        safe = any(k.arg == "weights_only" and getattr(k.value, "value", None) is True for k in node.keywords)
        if function.endswith(".cuda"):
            faults.append(f"line {node.lineno}: .cuda(): follow the inputs' device")
        if function in ("eval", "exec"):
            faults.append(f"line {node.lineno}: {function}(): choose by a table or a class")
        if function == "torch.load" and not safe:
            faults.append(f"line {node.lineno}: torch.load() without weights_only=True can run code from the file")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            faults.append(f"line {node.lineno}: star import")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            faults.append(f"line {node.lineno}: bare except")
    assert not faults, listed(faults)


@every_module
def test_module_sizes(path):
    "A module, a function, a forward, a line and a list of arguments have an end."
    text, faults = path.read_text(encoding="utf-8"), []
    if len(text.splitlines()) > MODULE_LINES:
        faults.append(f"{len(text.splitlines())} lines, more than {MODULE_LINES}: two ideas in one module?")
    in_all = False
    for number, line in enumerate(text.splitlines(), 1):
        in_all = line.startswith("__all__") or in_all and line.startswith(" " * 11)
        if len(line) > COLUMNS and not in_all and number > 1:  # line 1 is the subtitle of the page
            faults.append(f"line {number}: {len(line)} columns, more than {COLUMNS}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            limit = FORWARD_LINES if node.name == "forward" else FUNCTION_LINES
            length = node.end_lineno - node.body[0].lineno + 1  # the body: documented arguments take a line each
            if length > limit:
                faults.append(f"line {node.lineno}: {node.name} is {length} lines long, more than {limit}")
            if len(node.args.posonlyargs + node.args.args) > POSITIONAL:
                faults.append(f"line {node.lineno}: {node.name} takes more than {POSITIONAL} positional arguments")
    assert not faults, listed(faults)


@every_module
def test_module_is_documented(path):
    "Every public function and class has a docstring, and every public function a type for each argument."
    faults = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            faults.append(f"line {node.lineno}: {node.name} has no docstring")
        if isinstance(node, ast.FunctionDef):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in UNTYPED]
            if bare:
                faults.append(f"line {node.lineno}: {node.name} does not say the type of {', '.join(bare)}")
    assert not faults, listed(faults)


def test_python_style():
    "ruff, with ruff.toml."
    done = run(sys.executable, "-m", "ruff", "check", "--output-format", "concise", ROOT)
    assert done.returncode == 0, listed(done.stdout.splitlines())


def test_types():
    "basedpyright, with pyrightconfig.json."
    done = run(sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable)
    assert done.returncode == 0, listed(done.stdout.splitlines())


# ---- notebooks


@every_notebook
def test_cells_fit_the_screen(path):
    "An exported cell, and any cell at all, has an end; directives and empty lines do not count."
    faults = []
    for cell in cells(path):
        limit = EXPORTED_LINES if cell.exported else CELL_LINES
        lines = sum(bool(line.strip()) for line in cell.code.splitlines())
        if cell.kind == "code" and lines > limit:
            faults.append(f"cell {cell.number}: {lines} lines, more than {limit}; starts {cell.code.splitlines()[0]!r}")
    assert not faults, listed(faults)


def output_text(output):
    "What a reader reads of an output."
    data = output.get("data", {})
    return "".join(output.get("text", "")) or "".join(data.get("text/html", data.get("text/plain", "")))


@every_notebook
def test_outputs_are_committed(path):
    "The page was run, without an error, and its outputs are small enough to read and to keep."
    page, faults = cells(path), []
    code = [cell for cell in page if cell.kind == "code" and cell.code]
    if code and not any(cell.executed for cell in code):
        faults.append("no cell was executed; run make notebooks ONLY=…")
    for cell in code:
        for output in cell.outputs:
            if output["output_type"] == "error":
                faults.append(f"cell {cell.number} ends in an error: {output['ename']}: {output['evalue']}")
            picture = output.get("data", {}).get("image/png")
            if picture and len(picture) * 3 // 4 > PICTURE_BYTES:
                faults.append(f"cell {cell.number}: a picture of {len(picture) * 3 // 4000} kB")
            if output["output_type"] == "stream" and output_text(output).count("\n") > OUTPUT_LINES:
                faults.append(f"cell {cell.number}: {output_text(output).count(chr(10))} lines of output")
            if output.get("name") == "stderr":
                faults.append(f"cell {cell.number} wrote to stderr: {output_text(output)[:200]!r}")
    assert not faults, listed(faults)


@every_notebook
def test_metadata_is_stable(path):
    "Running a notebook again changes nothing in it but outputs: no versions, times or scroll states are kept."
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info", "widgets", "mcnet"}
    assert set(notebook["metadata"].get("mcnet", {})) <= {"code", "machine"}  # docs/stamps.py
    assert set(notebook["metadata"].get("language_info", {})) <= {"name"}
    assert {key for cell in notebook["cells"] for key in cell["metadata"]} <= {"tags"}
    identities = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identities)) == len(identities)


# Pages of which every picture has an alternative text; the list grows (module names, since numbers may change)
DESCRIBED = {"index", "photo_and_video", "a_folder_of_each", "a_long_video", "one_person", "from_python"}
DESCRIBED |= {"in_a_notebook"}


@pytest.mark.parametrize("path", [p for p in notebooks() if re.sub(r"^\d\d[a-z]?_", "", p.stem) in DESCRIBED], ids=name)
def test_pictures_are_described(path):
    "What is in a picture is said for those who cannot see it, in `#| fig-alt:`; a page's heading does not say it."
    faults = []
    for cell in cells(path):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            words = cell.directives.get("fig-alt", "").split()
            if len(words) < 4 or words[0] == "Figure:":
                faults.append(f"cell {cell.number}: {' '.join(words) or 'no #| fig-alt:'!r}")
    assert not faults, listed(faults)


@every_chapter
def test_page_teaches(path):
    "Title, subtitle, prose, tests; in lessons pictures and three exercises that fail unsolved, with folded solutions."
    page, faults = cells(path), []
    prose = [cell.source for cell in page if cell.kind == "markdown"]
    code = [cell for cell in page if cell.kind == "code"]
    if not re.match(r"# \S.*\n+> \S", prose[0]):
        faults.append("the first text is not `# Title` and `> subtitle`")
    if sum(len(text.split()) for text in prose) < PROSE_WORDS:
        faults.append(f"fewer than {PROSE_WORDS} words of prose")
    drawn = any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    if not is_appendix(path) and len(code) > 8 and not drawn:
        if not path.stem.endswith(NO_PICTURE):
            faults.append("no picture")
    if not any(re.search(r"^\s*assert |assert_close|expect_error|check_", cell.code, re.M) for cell in code):
        faults.append("no test")
    tries = [cell for cell in code if re.search(r"^\s*with unsolved\(\)", cell.code, re.M)]
    solutions = [cell for cell in code if cell.directives.get("code-fold", "").strip() == "true"]
    wanted = 0 if is_appendix(path) else 3
    if sum(len(re.findall(r"^\s*with unsolved\(\)", cell.code, re.M)) for cell in tries) < wanted:
        faults.append(f"{len(tries)} exercises that are shown to fail unsolved, 3 are needed")
    if len(solutions) < wanted:
        faults.append(f"{len(solutions)} folded solutions, 3 are needed")
    if not any("nbdev_export()" in cell.code and "hide" in cell.directives for cell in code[-2:]):
        faults.append("the hidden nbdev_export() cell is not the last")
    assert not faults, listed(faults)


@every_notebook
def test_imports_stand_alone(path):
    "The site runs cells with imports without the others, so an import cell holds nothing else (or is not evaluated)."
    faults = []
    for cell in cells(path):
        if cell.kind != "code" or not cell.code or re.match(r"\s*[%!]", cell.code):
            continue
        statements = [node for node in ast.parse(cell.code).body if not docstring(node)]
        imports = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
        if imports and len(imports) < len(statements) and "nbdev_export()" not in cell.code:
            if cell.directives.get("eval", "").strip() != "false":
                faults.append(f"cell {cell.number} mixes imports and code: {cell.code.splitlines()[0]!r}")
    assert not faults, listed(faults)


def docstring(node):
    "Is this statement a lone string?"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


# ---- every file

TEXT = {".py", ".md", ".ipynb", ".txt", ".ini", ".cff", ".toml", ".css", ".csv", ".yml", ".yaml", ".json", ""}
HERE = re.compile(
    "|".join([re.escape(f"{ROOT}/"), re.escape(f"{sys.prefix}/"), r"/(?:home|root|Users|mnt|opt|tmp)/\w[\w.-]*"])
)
SOURCES = re.compile(r"--(?:(?:extra-)?index-url|find-links)\b|\btrusted-host\b")


def readable(path):
    "The text of a file; of a notebook its sources and what its outputs say."
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8", errors="replace")
    page = cells(path)
    return "\n".join([cell.source for cell in page] + [output_text(output) for cell in page for output in cell.outputs])


def test_no_trace_of_a_machine():
    "No file, not even a notebook's output, names a folder of the machine it was made on or a source of packages."
    faults = []
    for path in tracked():
        if path.suffix in TEXT and path != ROOT / "tests" / "test_rules.py":
            text = readable(path)
            faults += [f"{name(path)}: {found[0]!r}" for found in HERE.finditer(text)]
            faults += [f"{name(path)}: {found[0]!r}" for found in SOURCES.finditer(text)]
    assert not faults, listed(faults[:40])


def test_files_are_small():
    "Nothing large in git but weights."
    large = [f"{name(p)}: {p.stat().st_size / 2**20:.1f} MB" for p in tracked() if p.stat().st_size > FILE_BYTES]
    assert not [fault for fault in large if ".safetensors" not in fault], listed(large)
    weights = sorted((PACKAGE / "assets").glob("*.safetensors"))
    assert all(path.stat().st_size <= 16e6 for path in weights), listed(large)


def test_constraints_only_pin():
    "name==version lines, torch first, and every requirement of settings.ini is among them."
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
    assert lines[0].startswith("torch==")
    rows = [value for key, value in settings().items() if key.endswith("requirements")]
    wanted = {package for row in rows for package in re.findall(r"([\w-]+)(?=[><=])", row)}
    assert wanted <= {line.split("==")[0] for line in lines}


LINK = re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")


@pytest.mark.parametrize("path", [p for p in tracked() if p.suffix in (".md", ".ipynb")], ids=name)
def test_relative_links_resolve(path):
    "A link to a file of the repository leads to one."
    page = [c.source for c in cells(path) if c.kind == "markdown"] if path.suffix == ".ipynb" else [readable(path)]
    text = re.sub(r"```.*?```|`[^`\n]*`", "", "\n".join(page), flags=re.S)
    links = [a or b for a, b in LINK.findall(text)]
    files = [link.split("#")[0] for link in links if not re.match(r"\w+:|#", link)]
    broken = [link for link in files if not link.startswith("attachment") and not (path.parent / link).exists()]
    assert not broken, f"{name(path)} links to {broken}"
