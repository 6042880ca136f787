"The viewer in a browser: any memory, as a file from a disk and as a widget's module."

import base64
import json

import pytest
import torch
from browser import needs_browser

from mcnet.core import UserError
from mcnet.explore.looks import Asked, join_views, look_into
from mcnet.explore.viewer import MemoryViewer, describe_view, draw_view, viewer_text, write_viewer
from mcnet.memory.outcomes import COPIES, try_without
from mcnet.memory.protocol import Entries, Memory, mix, pick

pytestmark = needs_browser
ROOT = "document.querySelector('.mcnet-viewer').viewer"
NOTEBOOK = """async ([module, text]) => {
  const bytes = (value) => new DataView(Uint8Array.from(atob(value), (c) => c.charCodeAt(0)).buffer);
  const setup = JSON.parse(text, (key, value) => (key === "data" ? bytes(value) : value)), heard = {};
  const values = { setup, state: { question: 3 } }, set = (name, value) => { values[name] = value; };
  const model = { get: (name) => values[name], set, save_changes() {}, on: (name, act) => { heard[name] = act; } };
  const { default: made } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  made.render({ model, el: document.body });
  const first = document.querySelector(".mcnet-viewer").viewer.state.question;
  values.state = { control: "silenced" };
  heard["change:state"]();
  document.querySelector(".heard button").click();
  return [first, values.state];
}"""
START = {"asked": 1, "question": 14, "entry": 0, "kind": "value", "control": "as learned", "sort": "number"}


class Nested(Memory):
    "Pictures as codes; a coarse scale knows the first half of them."

    def __init__(self):
        super().__init__()
        self.code = torch.rand(12, 3, 5, 7, generator=torch.Generator().manual_seed(0))

    def stored(self):
        return {"code": self.code}

    def read(self, query, count):
        codes = self.code[None, :count]
        keys, values = self.changed("key", codes.flatten(2)), self.changed("value", codes)
        return mix(keys, values, (-torch.cdist(query, keys)).softmax(-1))


class Nearest(Memory):
    "Rows of numbers, of which one is heard."

    def __init__(self):
        super().__init__()
        self.key, self.value = torch.eye(8), torch.arange(-4.0, 20).view(8, 3)

    def stored(self):
        return {"key": self.key, "value": self.value}

    def read(self, query):
        keys, values = self.changed("key", self.key[None]), self.changed("value", self.value[None])
        return pick(keys, values, torch.cdist(query, keys).argmin(-1, keepdim=True))


@pytest.fixture(scope="module")
def view():
    query = torch.rand(1, 24, 105, generator=torch.Generator().manual_seed(1))
    how = {"grid": (4, 6), "picture": torch.rand(3, 32, 48), "pictures": query.view(24, 3, 5, 7)}
    asked = [Asked((query, count), name=name, **how) for name, count in (("coarse", 6), ("fine", 12))]
    return look_into(Nested(), *asked, title="Codes & patches", names=[f"code {n}" for n in range(12)])


@pytest.fixture(scope="module")
def along():
    track = torch.rand(8, 30, generator=torch.Generator().manual_seed(2))
    asked = Asked((track.T[None],), track=track, seconds=0.04)
    return look_into(Nearest(), asked, title="Along time", pictures=torch.rand(8, 3, 4, 4))


class Maker(torch.nn.Module):
    "A picture and a flow of 6 × 6 places, made of what 36 questions hear."

    def __init__(self):
        super().__init__()
        self.memory = Nearest()

    def forward(self):
        heard = self.memory.read(torch.eye(8)[None, torch.arange(36) % 7]).answer[0].T.unflatten(1, (6, 6))  # (3, 6, 6)
        return {"picture": (heard + 4) / 24, "flow": heard[:2]}


@pytest.fixture(scope="module")
def twice():
    "One memory with what becomes of its pictures, and once more without."
    maker = Maker()
    outcome = try_without(maker, "memory", maker)
    asked = Asked((torch.eye(8)[None, :7],), "with")
    views = [look_into(Nearest(), asked, title="with", outcome=outcome), look_into(Nearest(), asked, title="without")]
    return join_views("With and without", *views)


FOUR = torch.eye(8)[None, :4]  # four questions to `Nearest`
HOLES = torch.rand(4, 3, 5, 5).where(torch.rand(4, 3, 5, 5) > 0.5, float("nan"))
STRANGE = {  # what is put beside four questions
    "names that are none": ({"names": torch.arange(4)}, "names is Tensor; a list of text"),
    "numbers as names": ({"names": [1, 2, 3, 4]}, "names holds int"),
    "a word as names": ({"names": "four"}, "names is str"),
    "too few names": ({"names": ["a"]}, "give one for each"),
    "a name that is none": ({"name": 5}, "holds int"),
    "grey pictures": ({"pictures": torch.rand(4, 5, 5)}, r"\(4, 3, h, w\) is needed"),
    "pictures of others": ({"pictures": torch.rand(5, 3, 5, 5)}, "is needed"),
    "bytes": ({"pictures": torch.full((4, 3, 5, 5), 255, dtype=torch.uint8)}, "give numbers from 0 to 1"),
    "pictures around 0": ({"pictures": torch.rand(4, 3, 5, 5) - 0.5}, "give numbers from 0 to 1"),
    "holes": ({"pictures": HOLES}, "holds NaN"),
    "pixels of none": ({"pictures": torch.rand(4, 3, 0, 5)}, "nothing is in it"),
    "numpy": ({"pictures": torch.rand(4, 3, 5, 5).numpy()}, "pictures is ndarray; a tensor"),
    "complex": ({"picture": torch.rand(3, 5, 5) + 0j, "grid": (2, 2)}, "picture is torch.complex64"),
    "a batch as picture": ({"picture": torch.rand(1, 3, 5, 5), "grid": (2, 2)}, r"\(3, H, W\) is needed"),
    "a flat track": ({"track": torch.rand(4)}, r"\(C, 4\) is needed"),
    "an endless track": ({"track": torch.rand(2, 4) / 0}, "give numbers from"),
    "another grid": ({"grid": (2, 3)}, "whose product is 4"),
    "half a grid": ({"grid": (4,)}, "height and width"),
    "a float grid": ({"grid": (2.0, 2.0)}, "two whole numbers"),
    "a negative grid": ({"grid": (-2, -2)}, "two whole numbers"),
    "a grid of truths": ({"grid": (True, 4)}, "two whole numbers"),
    "a number as grid": ({"grid": 4}, "height and width"),
    "no time": ({"seconds": float("nan")}, "seconds is nan"),
    "all time": ({"seconds": float("inf")}, "seconds is inf"),
    "backwards": ({"seconds": -1}, "more than 0"),
    "true seconds": ({"seconds": True}, "more than 0"),
}


@pytest.mark.parametrize("given, words", STRANGE.values(), ids=STRANGE)
def test_questions_that_cannot_be_shown(given, words):
    "One sentence, before anything is drawn."
    with pytest.raises(UserError, match=words):
        look_into(Nearest(), Asked((FOUR,), **given))


class Odd(Nearest):
    "A memory that says something else than the protocol wants."

    def __init__(self, spoil, entries=None):
        super().__init__()
        self.spoil, self.more = spoil, entries or {}

    def read(self, query):
        return self.spoil(super().read(query))

    def entries(self, *question):
        return {name: kind for name, kind in super().entries(*question).items() if name == "value"} | self.more


def keeps(**tensors):
    "A memory that lists these as well, however they are."
    return Odd(lambda reading: reading, {name: Entries(tensor) for name, tensor in tensors.items()})


SAID = {
    "no reading": (Odd(lambda reading: reading.answer), "gives a Tensor"),
    "holes": (Odd(lambda reading: reading._replace(answer=reading.answer / 0)), "the answer holds"),
    "weights of none": (Odd(lambda reading: reading._replace(weights=reading.weights / 0)), "table of questions"),
    "half weights": (Odd(lambda reading: reading._replace(weights=reading.weights / 2)), "sum to 1"),
    "answers to others": (Odd(lambda reading: reading._replace(answer=reading.answer[:, :2])), r"\(4, D\) is needed"),
    "another grid": (Odd(lambda reading: reading, {"map": Entries(torch.rand(1, 8, 2), (3, 3))}), "product is 8"),
    "holes in what is kept": (keeps(key=torch.eye(8)[None] / 0), "the memory's key"),
    "a number that is kept": (keeps(heat=torch.ones(1)), "the memory's heat"),
    "a picture for one": (keeps(picture=torch.ones(1, 1, 3, 5, 5)), "give one for each"),
    "no memory": (torch.nn.Linear(8, 3), "a Linear; give a Memory"),
}


@pytest.mark.parametrize("memory, words", SAID.values(), ids=SAID)
def test_memories_that_cannot_be_shown(memory, words):
    "What does not keep to the protocol is told its fault."
    with pytest.raises(UserError, match=words):
        look_into(memory, Asked((FOUR,)))


CALLS = {
    "nothing asked": (lambda: look_into(Nearest()), "no questions"),
    "no questions": (lambda: look_into(Nearest(), Asked((FOUR[:, :0],))), "nothing is in it"),
    "a bare question": (lambda: look_into(Nearest(), FOUR), "wrap them so"),
    "a question without its tuple": (lambda: look_into(Nearest(), Asked(FOUR)), "wrap them so"),
    "a title of numbers": (lambda: look_into(Nearest(), Asked((FOUR,)), title=5), "the title holds int"),
    "few names": (lambda: look_into(Nearest(), Asked((FOUR,)), names=["a"]), "there are 8"),
    "grey portraits": (lambda: look_into(Nearest(), Asked((FOUR,)), pictures=torch.rand(8, 4, 4)), "is needed"),
    "few portraits": (lambda: look_into(Nearest(), Asked((FOUR,)), pictures=torch.rand(7, 3, 4, 4)), "there are 8"),
    "no view to draw": (lambda: draw_view(Nearest()), "no view"),
    "no view for a notebook": (lambda: MemoryViewer(Nearest()), "no view"),
    "no view for a file": (lambda: write_viewer(Nearest(), "no.html"), "no view"),
}


@pytest.mark.parametrize("call, words", CALLS.values(), ids=CALLS)
def test_calls_that_cannot_be(call, words):
    with pytest.raises(UserError, match=words):
        call()


def test_what_is_kept_as_plain_numbers(along):
    "One number an entry, a truth an entry and a whole number an entry are rows like any others."
    kept = {"age": torch.ones(1, 8), "used": torch.ones(1, 8, dtype=torch.bool), "kind": torch.arange(8)[None]}
    found = look_into(keeps(**kept), Asked((FOUR,))).looks["as learned"][0].entries
    assert {name: tuple(found[name].tensor.shape) for name in kept} == dict.fromkeys(kept, (1, 8, 1))
    for asked, question in ((1, 0), (0, 30), (-1, 0), (True, 0), (0, 1.5)):
        with pytest.raises(UserError, match="choose 0 to"):
            draw_view(along, asked, question)


def test_no_page_that_a_browser_cannot_read(along, tmp_path):
    "A page tells its numbers as JSON, which has no NaN: none is written, whoever made the view."
    broken = along._replace(asked=(along.asked[0]._replace(seconds=float("nan")),))
    with pytest.raises(ValueError, match="JSON"):
        write_viewer(broken, tmp_path / "page.html")
    assert not [*tmp_path.iterdir()]


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    "Opens a view from its file, written once; its page may neither complain nor ask anybody."
    faults, files, folder = [], {}, tmp_path_factory.mktemp("views")

    def look(view, link="", **how):
        if view.title not in files:
            files[view.title] = write_viewer(view, folder / f"{len(files)}.html").as_uri()
        address, page = files[view.title], browser.new_page(**how)
        page.set_default_timeout(20_000)
        page.on("console", lambda said: said.type in ("error", "warning") and faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith((address, "blob:", "data:")) or faults.append(asked.url))
        page.goto(address + link)
        page.wait_for_selector(".mcnet-viewer" if how.get("java_script_enabled", True) else "img")
        return page

    yield look
    assert not faults


@pytest.fixture(scope="module")
def sheet(opened, view):
    return opened(view, viewport={"width": 1280, "height": 900})


@pytest.fixture
def page(sheet):
    "The view as it is at first, but at the fine scale."
    sheet.evaluate(f"start => {{ {ROOT}.choose(start) }}", START)
    return sheet


def state_of(page):
    return page.evaluate(f"{ROOT}.state")


def click_cell(page, selector, row, column, rows, columns):
    box = page.locator(selector).bounding_box()
    place = (column + 0.5) / columns * box["width"], (row + 0.5) / rows * box["height"]
    page.locator(selector).click(position=dict(zip("xy", place)))


def test_numbers_are_the_memorys(page, view):
    "Whatever is asked and whatever is done to it: shares, hearers, use and movement are those of the protocol."
    for control, looks in view.looks.items():
        for n, look in enumerate(looks):
            script = f"""([control, asked]) => {{ const v = {ROOT}; v.choose({{ control, asked }});
              const of = (count, read) => Array.from({{ length: count }}, (_, k) => [...read(k)]);
              return [of(v.questions(), v.shares), of(v.entries(), v.hearers), [...v.use()], [...v.moved()]]; }}"""
            shares, hearers, use, moved = map(torch.Tensor, page.evaluate(script, [control, n]))
            assert torch.equal(shares, look.shares) and torch.equal(hearers, look.shares.T)
            torch.testing.assert_close(shares.sum(1), torch.ones(24))
            torch.testing.assert_close(use, look.shares.mean(0))
            torch.testing.assert_close(moved, view.moved(control, n))


def test_click_a_question(page, view):
    "The question is the clicked place, and what is written of it is its row of the tensor."
    click_cell(page, "canvas[aria-label=question]", 1, 4, 4, 6)
    assert state_of(page)["question"] == 10
    best = view.looks["as learned"][1].shares[10].topk(5)
    rows = page.locator(".heard li").all()
    assert [int(row.locator("button").get_attribute("data-entry")) for row in rows] == best.indices.tolist()
    for row, m, share in zip(rows, best.indices.tolist(), best.values.tolist()):
        assert f"code {m}" in row.inner_text() and f"{100 * share:.2g} %" in row.inner_text()
    rows[2].locator("button").click()
    assert state_of(page)["entry"] == best.indices[2]
    click_cell(page, ".entries canvas[aria-label=entry]", 0, 1, 4, 3)
    assert state_of(page)["entry"] == 1 and "who hears code 1" in page.inner_text(".questions")


def test_keyboard_alone(page, view):
    "Question, entry, control, scale and order without a mouse."
    page.locator("canvas[aria-label=question]").focus()
    for key in ("ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    assert state_of(page)["question"] == 19
    page.locator(".matrix canvas[tabindex]").focus()
    for key in ("ArrowUp", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert (state_of(page)["question"], state_of(page)["entry"]) == (18, 2)
    assert "place (3, 0) hears" in page.get_attribute(".matrix canvas[tabindex]", "aria-label")
    page.locator(".heard button").nth(2).focus()
    held = page.locator(".heard button").nth(2).get_attribute("data-entry")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.entry") == held == str(state_of(page)["entry"])
    page.locator(".trials input:checked").focus()
    page.keyboard.press("ArrowDown")
    moved = f"moves by {100 * view.moved('silenced', 1)[18]:.0f} %."
    assert state_of(page)["control"] == "silenced" and page.inner_text(".hearing output").endswith(moved)
    page.locator("select[aria-label='asked with']").select_option("0")
    assert state_of(page)["asked"] == 0 and "24 questions downwards, 6 entries" in page.inner_text(".matrix .legend")


def test_controls(page, view):
    "Dealt anew together: other places, the same answer; the pictures go with their names."
    page.get_by_label("keys and values dealt anew").check()
    placed = state_of(page)["entry"]  # the chosen entry is followed
    assert placed == view.looks["keys and values dealt anew"][1].order.tolist().index(START["entry"])
    assert page.locator(".trials tr").last.inner_text().count("nothing") == 2
    differ = float(f"{100 * view.varied(1):.2g}")
    assert f"differ from their own mean by {differ:g} %" in page.inner_text(".trials .legend")
    order = view.looks["values dealt anew"][1].order.tolist()
    assert page.evaluate(f"{ROOT}.entryName(0)") == f"code {order[0]}"
    pixels = torch.tensor(page.evaluate(f"[...{ROOT}.kind().tensor.data]")).view(12, 3, 5, 7)
    torch.testing.assert_close(pixels, Nested().code[order], atol=1 / 255, rtol=0)


def test_sorted_by_use(page, view):
    page.locator("select[aria-label='entries sorted by']").select_option("use")
    wanted = view.looks["as learned"][1].shares.mean(0).argsort(descending=True).tolist()
    assert page.evaluate(f"{ROOT}.order()") == wanted
    click_cell(page, ".matrix canvas[tabindex]", 5, 0, 24, 12)
    assert state_of(page)["entry"] == wanted[0] and state_of(page)["question"] == 5


def test_what_becomes_of_the_picture(opened, twice):
    "The browser's numbers are the outcome's, under each control and without each entry; where nothing is made, none."
    page, outcome = opened(twice, viewport={"width": 1280, "height": 900}), twice.outcomes[0]
    said, missed = lambda: page.inner_text(".outcome"), outcome.effects("picture")
    for name, unit, scale in (("picture", "of 255", 255), ("flow", "px", 1)):
        told = f"{ROOT}.outcome().{name}"
        wanted = [outcome.effect_of(control, name) for control in COPIES] + outcome.effects(name).tolist()
        assert page.evaluate(f"{told}.unit") == unit
        found = torch.tensor(page.evaluate(f"[...{told}.effects.data]"))
        torch.testing.assert_close(found, scale * torch.tensor(wanted))
    assert missed[7] == 0 < missed[:7].min()  # nobody hears entry 7
    page.evaluate(f"{ROOT}.choose({{ entry: 6, sort: 'effect' }})")
    assert page.evaluate(f"{ROOT}.order()") == missed.argsort(descending=True, stable=True).tolist()
    assert f"Without entry 6, the picture moves by {255 * missed[6]:.3g} of 255" in said()
    page.get_by_label("silenced").check()
    assert f"Silenced, the picture moves by {255 * outcome.effect_of('silenced', 'picture'):.3g} of 255" in said()
    page.locator("canvas[aria-label='entry, by how far it moves the flow']").focus()
    page.keyboard.press("End")
    assert state_of(page)["entry"] == 7 and state_of(page)["control"] == "as learned"
    page.keyboard.press("Home")
    assert state_of(page)["entry"] == missed.argmax(), "the bars keep the keyboard"
    page.get_by_label("keys and values dealt anew").check()
    order = twice.looks["keys and values dealt anew"][0].order.tolist()
    assert page.evaluate(f"{ROOT}.order().map((m) => {order}[m])") == missed.argsort(descending=True).tolist()
    page.get_by_role("radio", name="as learned").check()
    page.locator("select[aria-label='asked with']").select_option("1")
    assert page.locator(".outcome").is_hidden() and state_of(page)["sort"] == "number"


def test_along_time(opened, along):
    "Another kind of memory: moments ask, portraits stand for rows; a link that says nonsense leaves the first state."
    link = "#%7B%22question%22%3A99%2C%22kind%22%3A%22nothing%22%2C%22sort%22%3A3%7D"
    page = opened(along, link, viewport={"width": 1280, "height": 900})
    assert state_of(page) == {**START, "asked": 0, "question": 29, "entry": state_of(page)["entry"], "kind": "picture"}
    page.locator("canvas[aria-label=question]").focus()
    page.keyboard.press("Home")
    assert state_of(page)["question"] == 0 and "0.00 s hears 1.00 of 8 entries" in page.inner_text(".hearing")
    assert page.locator(".heard li").count() == 1
    page.locator("select[aria-label='entries shown']").select_option("value")
    assert "8 entries of 3 numbers" in page.inner_text(".entries")


def test_fits_and_is_dark(opened, view):
    page = opened(view, color_scheme="dark")
    for width in (360, 700, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.querySelector('.mcnet-viewer')).backgroundColor")
    assert max(map(int, paper.removeprefix("rgb(").removesuffix(")").split(","))) < 60


def test_without_a_script(opened, view):
    still = opened(view, java_script_enabled=False).locator("#explorer img")
    assert still.is_visible() and "Codes & patches" in still.get_attribute("alt")


def test_in_a_notebook(browser, along):
    "The widget's module with a model as anywidget gives it: bytes as views, a state that a cell sets."
    told = describe_view(along)
    for value in told.values():
        if isinstance(value, dict) and "data" in value:
            value["data"] = base64.b64encode(value["data"]).decode()
    page = browser.new_page()
    state = page.evaluate(NOTEBOOK, [viewer_text(), json.dumps(told)])
    assert state[0] == 3 and state[1]["control"] == "silenced" and state[1]["question"] == 3
    page.close()
