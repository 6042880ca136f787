"The explorer in a browser: as a file from a disk, and served by `mcnet explore`."

import base64
import io
import json
import threading
import urllib.parse

import pytest
import torch
from browser import needs_browser
from PIL import Image

from mcnet.animation.weights import load_network
from mcnet.core import UserError
from mcnet.explore.engine import VIEWS, Engine, ExplorerState, read_state
from mcnet.explore.oracles import draw_subject
from mcnet.explore.page import write_page
from mcnet.explore.serve import ExplorerServer
from mcnet.explore.surgery import Surgery
from mcnet.explore.views import look
from mcnet.explore.widget import full_state
from mcnet.memory.bank import MemoryConfig
from mcnet.memory.files import build
from mcnet.memory.network import MCNetConfig

pytestmark = needs_browser
TENSORS = "image", "memory", "query", "key", "value", "answer"
APP = "document.querySelector('.mcnet-explorer').explorer"
CHANGE = """async (changes) => {
  const app = document.querySelector(".mcnet-explorer").explorer;
  app.change({ ...app.start, ...changes, surgery: { ...app.start.surgery, ...(changes.surgery || {}) } });
  await new Promise((done) => { const look = () => (app.busy() ? setTimeout(look, 5) : done()); look(); });
}"""
BYTES = """(name) => {  // as text, since numbers one by one are slow
  const { data } = document.querySelector(".mcnet-explorer").explorer.answer[name];
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength), parts = [];
  for (let at = 0; at < bytes.length; at += 8192) parts.push(String.fromCharCode(...bytes.subarray(at, at + 8192)));
  return btoa(parts.join(""));
}"""


@pytest.fixture(scope="module")
def engine():
    return Engine(load_network("tiny-synthetic").eval(), draw_subject(64))


@pytest.fixture(scope="module")
def file(engine, tmp_path_factory):
    "The page without a kernel."
    made = write_page(engine, tmp_path_factory.mktemp("page") / "explorer.html", "The memory of tiny-synthetic")
    assert made.bytes <= 12e6
    return made.path.as_uri()


@pytest.fixture(scope="module")
def served(engine):
    "The page with a program behind it."
    server = ExplorerServer(engine.about(engine.subject), "The memory of tiny-synthetic")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.address
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", params=["file", "served"])
def sheet(request, browser):
    "A page, which may neither complain nor ask anybody else."
    address, faults = request.getfixturevalue(request.param), []
    sheet = browser.new_page(viewport={"width": 1280, "height": 900})
    sheet.set_default_timeout(60_000)
    sheet.on("console", lambda said: said.type in ("error", "warning") and faults.append(said.text))
    sheet.on("pageerror", lambda error: faults.append(str(error)))
    own = address.removesuffix(".html")
    sheet.on("request", lambda asked: asked.url.startswith((own, "blob:", "data:")) or faults.append(asked.url))
    sheet.goto(address)
    yield sheet
    sheet.close()
    assert not faults


@pytest.fixture
def page(sheet):
    "The page as it is at first."
    sheet.wait_for_selector(".memory .facts:not(:empty)")
    if not sheet.evaluate(f"{APP}.setup.drawn"):
        sheet.reload()
        sheet.wait_for_selector(".memory .facts:not(:empty)")
    sheet.evaluate(CHANGE, {})
    return sheet


def settle(page):
    "Wait until nothing is being answered."
    page.wait_for_function(f"!{APP}.busy()")


def tensor(page, name="image"):
    "What the page draws."
    return torch.frombuffer(bytearray(base64.b64decode(page.evaluate(BYTES, name))), dtype=torch.float32)


def picture_of(page, changes):
    "The picture after some changes of the first state."
    page.evaluate(CHANGE, changes)
    return tensor(page)


def state_of(page):
    return page.evaluate(f"{APP}.state")


def test_numbers_are_the_kernels(page, engine):
    "Whatever is changed, what the page shows is a forward pass."
    start = ExplorerState.from_dict(page.evaluate(f"{APP}.start"))
    cut = {"gains": ((3, 0.0), (5, -1.5)), "swaps": ((1, 2),), "paint": ((17, 0.0),), "sharpness": 2.0}
    for changes in (
        {"frame": 4, "level": 2},
        {"frame": 1, "oracle": "both true"},
        {"frame": 12, "points": ((4, 0.3, 0.1),), "shears": ((2, 1.5, 0.1, 0.0, 1.0),)},
        {"frame": 1, "level": 0, "surgery": Surgery(control="values dealt anew", **cut)},
        {"frame": 1, "surgery": Surgery(control="same answer")},
        {"frame": 12, "place": (0.2, 0.1), "hole": 0.4, "level": 3},
    ):
        state = start.replace(**changes)
        expected = engine.answer(state, TENSORS)
        page.evaluate(CHANGE, {name: value for name, value in state.to_dict().items() if name in changes})
        for name in TENSORS:
            torch.testing.assert_close(tensor(page, name), expected[name].flatten(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("view", VIEWS)
def test_views_say_what_python_says(page, engine, view):
    "The words under a view, with their numbers."
    state = ExplorerState(frame=2, view=view, keypoint=9)
    page.evaluate(CHANGE, {"view": view, "keypoint": 9})
    assert page.inner_text("[data-name=view] .legend").strip() == look(engine, state).words


def test_what_is_only_looked_at_asks_nobody(page):
    "Another pixel, channel or view: nothing is computed anew, and the ring says where the pixel looks."
    page.evaluate(CHANGE, {"view": "warped"})
    assert not page.evaluate(f"() => {{ {APP}.change({{ place: [0.5, -0.2] }}); return {APP}.busy() }}")
    ring = page.locator("[data-name=source] circle.asked")
    flow = tensor(page, "deformation").tolist()
    column, row = round(0.75 * 63), round(0.4 * 63)
    x, y = flow[2 * (64 * row + column) :][:2]
    assert abs(float(ring.get_attribute("cx")) - ((x + 1) / 2 * 63 + 0.5)) < 1e-3
    assert abs(float(ring.get_attribute("cy")) - ((y + 1) / 2 * 63 + 0.5)) < 1e-3


def test_joint_shuffle_changes_nothing(page):
    before = picture_of(page, {"frame": 1})
    dealt = {"frame": 1, "surgery": {"control": "keys and values dealt anew"}}
    after = picture_of(page, dealt)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


def test_keyboard_alone(page):
    "A keypoint, a pixel, a channel and undo without a mouse."
    first = tensor(page)
    page.locator(".dot[data-k='4'][role=button]").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        settle(page)
    moved = tensor(page)
    assert (moved - first).abs().max() > 0.05 and state_of(page)["points"][0][0] == 4
    page.locator("[data-name=image] canvas").focus()
    asked = state_of(page)["place"]
    page.keyboard.press("ArrowDown")
    settle(page)
    assert state_of(page)["place"][1] > asked[1]
    page.locator(".memory canvas[aria-label*='arrow keys choose']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    settle(page)
    assert state_of(page)["surgery"]["gains"] == [[1, 0]] and "channel 1 silenced" in page.inner_text(".done")
    for _ in range(6):
        page.keyboard.press("Control+z")
    settle(page)
    assert state_of(page)["points"] == [] and state_of(page)["surgery"]["gains"] == []
    torch.testing.assert_close(tensor(page), first, atol=1e-5, rtol=0)


def test_mouse(page):
    "Drag a keypoint, click a pixel: the asked place is the clicked one, and its shares sum to 1."
    first, dot = tensor(page), page.locator(".dot[data-k='4'][role=button]").bounding_box()
    page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    page.mouse.down()
    page.mouse.move(dot["x"] + 40, dot["y"] + 10, steps=3)
    page.mouse.up()
    settle(page)
    assert (tensor(page) - first).abs().max() > 0.05
    frame = page.locator("[data-name=image] canvas").bounding_box()
    page.mouse.click(frame["x"] + 0.02 * frame["width"], frame["y"] + 0.97 * frame["height"])
    settle(page)
    x, y = state_of(page)["place"]
    assert x < -0.9 and y > 0.9 and "Pixel (15, 0) of 16 × 16" in page.inner_text(".asking .facts")


def test_numbers_that_are_none(page):
    "A sentence, and what was there before."
    before = tensor(page)
    page.evaluate("() => { document.querySelector('.mcnet-explorer').explorer.cut({ sharpness: NaN }) }")
    page.wait_for_function("document.querySelector('.message').textContent.length > 0")
    settle(page)
    assert state_of(page)["surgery"]["sharpness"] == 1
    torch.testing.assert_close(tensor(page), before)


def test_a_slider_by_keys_can_be_undone(page):
    first = state_of(page)["frame"]
    page.locator("input[aria-label=frame]").focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    assert state_of(page)["frame"] == first + 1
    page.keyboard.press("Control+z")
    settle(page)
    assert state_of(page)["frame"] == first


NO_STATES = (
    {"zoom": 1}, {"place": [0]}, {"place": [5, 5]}, {"hole": True}, {"hole": "0.5"}, {"hole": 2},
    {"frame": 1.5}, {"frame": 99}, {"points": [[0]]}, {"points": [[0.5, 0, 0]]}, {"points": [[12, 0, 0]]},
    {"points": [[0, 1e40, 0]]}, {"points": 3}, {"shears": [[0, 1]]}, {"surgery": {"gains": [[3]]}},
    {"surgery": {"gains": [[3, 99]]}}, {"surgery": {"swaps": [[1, 2.5]]}},
    {"surgery": {"paint": [[99999, 0]]}}, {"surgery": {"sharpness": "2"}}, {"surgery": {"volume": 1}},
    {"view": "depth"},
)  # fmt: skip


@pytest.mark.parametrize("sheet", ["file"], indirect=True)
def test_what_is_no_state(page, engine):
    "Refused in a sentence by the page as by the kernel, and what is shown stays."
    start, before = page.evaluate(f"{APP}.start"), tensor(page)
    change = f"(state) => {{ {APP}.change(state); return document.querySelector('.message').textContent; }}"
    for wrong in NO_STATES:
        state = full_state(start, wrong)
        with pytest.raises(UserError):
            engine.predict(read_state(state))
        assert page.evaluate(change, state), wrong
        assert state_of(page) == start, wrong
    torch.testing.assert_close(tensor(page), before)


@pytest.mark.parametrize(
    "link", ["%7B", "null", "%7B%22points%22%3A3%7D", "%7B%22surgery%22%3A%7B%22gains%22%3A%5B%5B3%5D%5D%7D%7D"]
)
def test_a_damaged_link(browser, served, link):
    "The explorer opens at its first state; what was wrong is one sentence, where the link could be read at all."
    fresh = browser.new_page()
    fresh.goto(f"{served}#{link}")
    fresh.wait_for_selector(".memory .facts:not(:empty)")
    assert state_of(fresh) == fresh.evaluate(f"{APP}.start")
    assert bool(fresh.inner_text(".message")) == ("points" in link or "gains" in link)
    fresh.close()


def test_a_link_shows_the_same_picture(page, browser, served):
    changes = {"frame": 5, "surgery": {"control": "silenced"}}
    shown = picture_of(page, changes)
    link = page.evaluate("changes => encodeURIComponent(JSON.stringify(changes))", changes)
    fresh = browser.new_page()
    fresh.goto(f"{served}#{link}")
    fresh.wait_for_selector(".memory .facts:not(:empty)")
    torch.testing.assert_close(tensor(fresh), shown, atol=1e-4, rtol=0)
    fresh.close()


def test_a_link_to_a_part(browser, served):
    "A page that wants one panel gets one, in the light or in the dark."
    fresh = browser.new_page()
    part = urllib.parse.quote(json.dumps({"panels": ["stage"], "theme": "dark", "view": "pushed"}))
    fresh.goto(f"{served}#{part}")
    fresh.wait_for_selector("[data-name=view] .legend:not(:empty)")
    assert fresh.locator("section").count() == 1 and "orange" in fresh.inner_text("[data-name=view] .legend")
    ground = fresh.evaluate("getComputedStyle(document.querySelector('.mcnet-explorer')).backgroundColor")
    assert ground == "rgb(21, 24, 28)"
    fresh.close()


@pytest.mark.parametrize("sheet", ["file"], indirect=True)
def test_the_tour_can_be_walked(page):
    page.get_by_role("button", name="take the tour").click()
    titles = []
    stops = page.evaluate(f"{APP}.setup.tour.length")
    for _ in range(stops):
        titles.append(page.inner_text(".tour h3"))
        page.get_by_role("button", name="show me").click()
        page.locator(".tour .answer").wait_for()
        assert not page.inner_text(".message")
        page.get_by_role("button", name="next").click() if len(titles) < stops else None
    assert len(set(titles)) == stops and page.get_by_role("button", name="next").is_disabled()


def test_a_picture_of_ones_own(page):
    "A text file is refused in one sentence and changes nothing; a picture becomes the source."
    before = state_of(page)
    page.set_input_files(".file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not a picture"})
    page.wait_for_function("document.querySelector('.message').textContent.includes('notes.txt')")
    assert state_of(page) == before
    drawn, file = draw_subject(96, 3, seed=5), io.BytesIO()
    Image.fromarray((drawn.source[0].permute(1, 2, 0) * 255).byte().numpy()).save(file, "png")
    page.set_input_files(".file", {"name": "me.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.wait_for_function("!document.querySelector('.mcnet-explorer').explorer.setup.drawn")
    settle(page)
    page.evaluate(CHANGE, {"frame": 12})
    assert page.inner_text("[data-name=driving] figcaption") == "driving frame"  # nobody knows what should come out
    for drawn_only in (page.locator("select[aria-label=motion]"), page.get_by_role("button", name="take the tour")):
        assert not drawn_only.is_visible()
    assert page.locator("select[aria-label=view]").input_value() == "warped"
    small = torch.nn.functional.interpolate(drawn.source, 64, mode="area")[0]
    assert (tensor(page).view(3, 64, 64) - small).abs().mean() < 0.06  # at rest it looks as it was given


def file_of(kind, *size):
    "A black picture as its file."
    file = io.BytesIO()
    Image.new("1", size).save(file, kind)
    return file.getvalue()


def refused(page, name, content, *words):
    "A picture is given, and a sentence with these words is the answer."
    page.set_input_files(".file", {"name": name, "mimeType": "", "buffer": content})
    said = "words => words.every((word) => document.querySelector('.message').textContent.includes(word))"
    page.wait_for_function(said, arg=[name, *words])


def test_pictures_that_no_page_takes(page):
    "Too large by its header, too small to show a face, or cut off: the same answer with a program and without one."
    before = tensor(page)
    refused(page, "wall.png", file_of("png", 16_000, 16_000), "16,000 × 16,000 pixels, more than 64 million; make it")
    refused(page, "dot.png", file_of("png", 9, 9), "9×9 pixels; at least 16×16")
    refused(page, "half.png", file_of("png", 400, 400)[:60], "damaged")
    assert page.evaluate(f"{APP}.setup.drawn") and torch.equal(tensor(page), before)


@pytest.mark.parametrize("sheet", ["file"], indirect=True)
def test_a_picture_that_browsers_do_not_read(page):
    refused(page, "scan.tif", file_of("tiff", 40, 40), "TIFF", "save it as jpg or png")


@pytest.mark.parametrize("sheet", ["served"], indirect=True)
def test_two_pages_two_pictures(page, browser, served):
    "What one page is given, another does not see; loaded anew, it begins with the first."
    fresh, file = browser.new_page(), io.BytesIO()
    fresh.goto(served)
    fresh.wait_for_selector(".memory .facts:not(:empty)")
    assert fresh.evaluate(f"{APP}.setup.drawn")
    before = tensor(fresh)
    Image.new("RGB", (80, 80), (200, 30, 30)).save(file, "png")
    fresh.set_input_files(".file", {"name": "red.png", "mimeType": "image/png", "buffer": file.getvalue()})
    fresh.wait_for_function(f"!{APP}.setup.drawn")
    settle(fresh)
    assert (tensor(fresh) - before).abs().max() > 0.1
    torch.testing.assert_close(picture_of(page, {}), before, atol=1e-4, rtol=0)
    fresh.close()


def test_narrow_and_without_a_script(browser, served):
    "At 360 pixels nothing is wider than the screen; without scripts the still is there."
    narrow = browser.new_page(viewport={"width": 360, "height": 800})
    narrow.goto(served)
    narrow.wait_for_selector(".memory .facts:not(:empty)")
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 360
    narrow.close()
    context = browser.new_context(java_script_enabled=False)
    silent = context.new_page()
    silent.goto(served)
    still = silent.locator("#explorer img")
    assert still.is_visible() and "memory" in still.get_attribute("alt")
    context.close()


def test_a_bank_of_the_papers_size(browser):
    "512 maps of 32 × 32 places, of random numbers: drawn within a second, each of them a channel that can be chosen."
    bank = MemoryConfig(channels=512, height=32, width=32, levels=1)
    engine = Engine(build(MCNetConfig.tiny().replace(memory=bank)).eval(), draw_subject(64, 3))
    server = ExplorerServer(engine, "as large as the paper's")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fresh = browser.new_page()
    fresh.set_default_timeout(60_000)
    fresh.goto(server.address)
    fresh.wait_for_selector(".memory .facts:not(:empty)")
    fresh.evaluate(f"() => {APP}.change({{ kind: 'bank', channel: 511 }})")
    settle(fresh)
    assert "channel 511" in fresh.inner_text(".memory .facts")
    assert "all 512" in fresh.locator(".memory .legend").first.inner_text()
    torch.testing.assert_close(tensor(fresh, "bank"), engine.memory.bank().detach().flatten())
    timed = f"() => {{ const start = performance.now(); {APP}.draw(); return performance.now() - start; }}"
    assert min(fresh.evaluate(timed) for _ in range(3)) < 1000  # the first may be disturbed
    fresh.close()
    server.shutdown()
    server.server_close()
