"Downloads against a server on this machine that misbehaves in every way we could think of; and the registry itself."

import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from inputs import small_release, tiny_weights

from mcnet.animation.weights import (
    REGISTRY,
    WeightSpec,
    add,
    cache_folder,
    check_file,
    fetch,
    find_file,
    known_weights,
    load_network,
    remove,
    resolve,
    state_of,
)
from mcnet.core import UserError
from mcnet.memory.network import MCNetConfig

CONTENT = bytes(range(256)) * 4096  # a mebibyte in which every place is recognised
MEGA = len(CONTENT)


class Handler(BaseHTTPRequestHandler):
    "Answers as the server's `manners` say, connection after connection, and keeps a log."

    def do_GET(self):
        manners, log = self.server.manners, self.server.log
        wanted = self.headers.get("Range") if manners.get("ranges", True) else None
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        log.append((self.path, start))
        content, codes = manners.get("content", CONTENT), manners.get("codes", [])
        code = codes.pop(0) if codes else 206 if wanted else 200
        if start >= len(content):
            code = 416
        self.send_response(code)
        if code >= 300:
            self.end_headers()
            return
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cuts = manners.get("cuts", [])
        stop = start + cuts.pop(0) if cuts else len(content)
        step = manners.get("step", MEGA)
        for place in range(start, min(stop, len(content)), step):
            self.wfile.write(content[place : min(place + step, stop)])
            time.sleep(manners.get("wait", 0))
        if stop < len(content) and manners.get("stall"):
            time.sleep(manners["stall"])
        if stop < len(content) and manners.get("reset"):  # hang up as a crashed router does: no goodbye
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *words):
        "Say nothing."


class Server(ThreadingHTTPServer):
    "A client that hangs up is none of its business."

    daemon_threads = True

    def handle_error(self, *request):
        "Say nothing."


@pytest.fixture
def server():
    "A server with good manners; a test changes `manners` and reads `log`."
    server = Server(("127.0.0.1", 0), Handler)
    server.manners, server.log = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}/thing.bin"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    "An empty cache, and no setting of the user that could disturb."
    for name in ("MCNET_DATA", "MCNET_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib reads the environment once
    monkeypatch.setenv("MCNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def spec(server, cache):
    "An entry whose file the server has."
    digest = hashlib.sha256(CONTENT).hexdigest()
    return WeightSpec("thing", "thing.bin", MEGA, digest, {}, "Apache-2.0", "counting", {}, "part", server.url)


def visible(folder):
    "What lies in a folder, but for locks."
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock") if folder.is_dir() else []


def starts(server):
    "From which byte on each connection was served."
    return [start for _, start in server.log]


def quick(spec, **options):
    "fetch, without the waiting."
    return fetch(spec, **{"pause": 0.001, "timeout": 5.0, **options})


def test_plain_download(server, spec, cache):
    seen = []
    path = quick(spec, progress=lambda done, total: seen.append((done, total)))
    assert path == cache / "thing.bin" and path.read_bytes() == CONTENT
    assert visible(cache) == ["thing.bin"] and starts(server) == [0]
    assert seen == sorted(seen) and seen[-1] == (MEGA, MEGA)
    assert quick(spec) == path and starts(server) == [0]  # a second time, nothing is asked for


@pytest.mark.parametrize("reset", [False, True])
def test_continues_after_a_break(server, spec, reset):
    server.manners = {"cuts": [100_000, 300_000, 1], "reset": reset}
    assert quick(spec).read_bytes() == CONTENT
    assert len(server.log) == 4
    if not reset:  # a reset may lose what was on the way, and nothing else
        assert starts(server) == [0, 100_000, 400_000, 400_001]
    assert starts(server) == sorted(starts(server))


def test_continues_what_another_run_began(server, spec, cache):
    server.manners = {"cuts": [200_000] + [0] * 9}
    with pytest.raises(UserError, match="200,000 of 1,048,576 bytes are kept"):
        quick(spec)
    assert len(visible(cache)) == 1 and visible(cache)[0].startswith(".thing.bin-")
    server.log.clear()
    server.manners = {}
    assert quick(spec).read_bytes() == CONTENT
    assert starts(server) == [200_000] and visible(cache) == ["thing.bin"]


def test_half_file_of_another_version_is_not_continued(server, spec, cache):
    server.manners = {"cuts": [200_000] + [0] * 9}
    with pytest.raises(UserError):
        quick(spec._replace(sha256="1" * 64))
    server.manners, before = {}, len(server.log)
    assert quick(spec).read_bytes() == CONTENT
    assert starts(server)[before:] == [0]


def test_server_without_ranges_starts_over(server, spec):
    server.manners = {"ranges": False, "cuts": [100_000, 50_000, 700_000]}
    assert quick(spec).read_bytes() == CONTENT
    assert starts(server) == [0, 0, 0, 0]


def test_gives_up_when_nothing_new_comes(server, spec, cache):
    server.manners = {"ranges": False, "cuts": [1000] * 50}
    with pytest.raises(UserError, match="the connection ends too early.*download .* yourself and save it as"):
        quick(spec)
    assert len(server.log) == 6 and "thing.bin" not in visible(cache)


def test_wrong_bytes(server, spec, cache):
    server.manners = {"content": CONTENT[:-1] + b"x"}
    with pytest.raises(UserError, match="checksum differs"):
        quick(spec)
    assert visible(cache) == []
    server.manners = {}
    assert quick(spec).read_bytes() == CONTENT


def test_file_longer_than_registered(server, spec, cache):
    server.manners = {"content": CONTENT * 40, "step": 2**16}
    with pytest.raises(UserError, match="not that file"):
        quick(spec)
    assert visible(cache) == [] and len(server.log) == 1


def test_file_shorter_than_what_is_here(server, spec, cache):
    server.manners = {"cuts": [500_000] + [0] * 9}
    with pytest.raises(UserError):
        quick(spec)
    server.manners = {"content": CONTENT[:1000]}
    with pytest.raises(UserError, match="cannot be read"):
        quick(spec)
    server.manners = {}
    assert quick(spec).read_bytes() == CONTENT


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_refused_for_good(server, spec, cache, code):
    server.manners = {"codes": [code] * 9}
    with pytest.raises(UserError, match=f"answers {code} .*; find thing.bin elsewhere and save it as"):
        quick(spec)
    assert len(server.log) == 1 and visible(cache) == []


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_busy_server(server, spec, code):
    server.manners = {"codes": [code] * 3}
    assert quick(spec).read_bytes() == CONTENT
    assert len(server.log) == 4


def test_nobody_there(spec, cache):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/thing.bin"
        with pytest.raises(UserError, match="cannot be read .*refused"):
            quick(spec._replace(url=url))
    assert visible(cache) == []


def test_connection_that_falls_asleep(server, spec):
    server.manners = {"cuts": [300_000], "stall": 3}
    started = time.perf_counter()
    assert quick(spec, timeout=0.3).read_bytes() == CONTENT
    assert starts(server) == [0, 300_000] and time.perf_counter() - started < 3


def test_slow_is_not_broken(server, spec):
    server.manners = {"step": MEGA // 10, "wait": 0.06}
    assert quick(spec, timeout=0.4).read_bytes() == CONTENT
    assert len(server.log) == 1


def test_proxy_of_the_environment(server, spec, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "")
    assert quick(spec._replace(url="http://weights.invalid/thing.bin")).read_bytes() == CONTENT
    assert server.log == [("http://weights.invalid/thing.bin", 0)]


def test_offline_opens_no_connection(server, spec, cache, monkeypatch):
    monkeypatch.setenv("MCNET_OFFLINE", "1")
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("a connection was opened"))
    with pytest.raises(UserError, match="MCNET_OFFLINE") as caught:
        quick(spec)
    assert server.url in str(caught.value) and str(cache / "thing.bin") in str(caught.value)
    assert server.log == [] and not cache.exists()
    cache.mkdir()
    (cache / "thing.bin").write_bytes(CONTENT)  # what the sentence says
    registry = cache.parent / "weights.json"
    add(spec, registry)
    assert find_file("thing", download=True, registry=registry) == cache / "thing.bin"


def test_too_little_room(server, spec, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="needs 1 MB more .* 0 MB are free; make room"):
        quick(spec)
    assert server.log == [] and visible(cache) == []


FETCH = """
import sys
from mcnet.core import UserError
from mcnet.animation.weights import WeightSpec, fetch
spec = WeightSpec("thing", "thing.bin", {length}, {digest!r}, {{}}, "Apache-2.0", "counting", {{}}, "part", {url!r})
print("ready", flush=True)
sys.stdin.readline()
try:
    print(fetch(spec, pause=0.001), flush=True)
except UserError as error:
    print("UserError:", error, flush=True)
"""


def other_process(spec, before=""):
    "Another Python that waits for a line, then fetches."
    code = before + FETCH.format(length=spec.bytes, digest=spec.sha256, url=spec.url)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], **pipes)


def test_two_processes_at_once(server, spec, cache):
    server.manners = {"step": MEGA // 20, "wait": 0.02}
    both = [other_process(spec) for _ in range(2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert said == [str(cache / "thing.bin")] * 2
    assert (cache / "thing.bin").read_bytes() == CONTENT and visible(cache) == ["thing.bin"]
    assert starts(server) == [0]  # one of them loaded, the other waited


def test_killed_in_the_middle(server, spec, cache):
    server.manners = {"step": MEGA // 100, "wait": 0.02}
    process = other_process(spec)
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    for _ in range(500):
        time.sleep(0.02)
        if any(path.suffix == ".part" and path.stat().st_size > 50_000 for path in cache.glob(".*")):
            break
    process.kill()
    process.communicate()
    assert "thing.bin" not in visible(cache)
    server.manners = {}
    assert quick(spec).read_bytes() == CONTENT  # neither lock nor half file is in the way
    assert starts(server)[0] == 0 and starts(server)[1] > 50_000


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limit for the length of files")
def test_disk_full(server, spec, cache):
    "A true error of the system in the middle of writing: the process may write no file longer than 300,000 bytes."
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
    process = other_process(spec, limit)
    said = process.communicate("go\n", timeout=60)[0]
    assert "UserError: cannot write" in said and "make room" in said and said.count("\n") == 2
    assert visible(cache) == [] and len(server.log) == 1


def test_cache_that_cannot_be_written(spec, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MCNET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="cannot write .*MCNET_CACHE"):
        quick(spec)


# ---- where files are looked for


@pytest.fixture
def registry(spec, tmp_path):
    "A registry that lists the server's file."
    add(spec._replace(note="another version is used by giving its path"), tmp_path / "weights.json")
    return tmp_path / "weights.json"


def test_find_file_looks_and_does_not_fetch(server, registry, cache):
    assert find_file("thing", registry=registry) is None
    assert server.log == [] and not cache.exists()
    assert state_of(known_weights(registry)["thing"], registry) == "not here"


def test_find_file_prefers_the_users_data(server, registry, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MCNET_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / "weights" / "thing.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert find_file("thing", download=True, registry=registry) == path and server.log == []
    assert state_of(known_weights(registry)["thing"], registry) == "found"
    assert remove("thing", registry) == 0 and path.exists()  # what the user put somewhere stays there


def test_another_version_is_refused(server, registry, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MCNET_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / "weights" / "thing.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match="giving its path"):
        find_file("thing", registry=registry)
    assert state_of(known_weights(registry)["thing"], registry) == "another file"
    assert find_file("thing", download=True, registry=registry) == cache / "thing.bin"
    assert find_file("thing", registry=registry) == cache / "thing.bin"  # the right one counts, wherever it is
    assert path.read_bytes() == CONTENT[::-1]


def test_damaged_cache_is_replaced(server, registry, cache):
    cache.mkdir()
    (cache / "thing.bin").write_bytes(b"half a")
    with pytest.raises(UserError, match="cut off"):
        find_file("thing", registry=registry)
    assert resolve("thing", registry).read_bytes() == CONTENT


def test_remove_takes_everything(server, registry, spec, cache):
    server.manners = {"cuts": [200_000] + [0] * 9}
    with pytest.raises(UserError):
        quick(spec)
    assert remove("thing", registry) == 200_000 and list(cache.iterdir()) == []
    server.manners = {}
    quick(spec)
    assert remove("thing", registry) == MEGA and list(cache.iterdir()) == []
    assert remove("thing", registry) == 0


def test_a_part_is_no_network(registry):
    with pytest.raises(UserError, match="thing is no network but thing.bin"):
        load_network("thing", registry)


# ---- what is registered


@pytest.mark.parametrize("name", sorted(known_weights()))
def test_entry_is_complete(name):
    spec = known_weights()[name]
    assert spec.kind in ("network", "part") and spec.licence and spec.data
    if spec.file:
        assert spec.bytes > 0 and re.fullmatch("[0-9a-f]{64}", spec.sha256)
        assert Path(spec.file).name == spec.file
    assert spec.ships or spec.note  # who has to do something is told what
    assert spec.url.startswith("https://") or not spec.url
    if spec.ships:
        assert state_of(spec) == "shipped" and spec.config and spec.scores
        assert check_file(REGISTRY.parent / spec.file, spec)


def test_every_shipped_file_is_registered():
    maps = "births.safetensors"  # of page 10d: pictures of a training, no weights
    files = {path.name for path in REGISTRY.parent.glob("*.safetensors")} - {maps}
    assert files == {spec.file for spec in known_weights().values() if spec.ships}


def test_checksum_in_the_name_of_vgg():
    "PyTorch puts the first eight digits into the name of the file."
    spec = known_weights()["vgg19"]
    assert spec.sha256.startswith(re.search(r"-([0-9a-f]{8})\.pth", spec.url)[1]) and spec.url.endswith(spec.file)


def test_the_authors_checkpoint_is_got_by_hand():
    with pytest.raises(UserError, match="no licence is stated.*README of .*ICCV2023-MCNET.*mcnet convert"):
        resolve("mcnet-release")
    assert state_of(known_weights()["mcnet-release"]) == "by hand" and find_file("mcnet-release") is None


def test_face_landmarker_is_the_registered_one(cache, monkeypatch):
    folder = Path(os.environ.get("MCNET_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    spec = known_weights()["face-landmarker"]
    if not (folder / "weights" / spec.file).is_file():
        pytest.skip(f"../shared/data/weights/{spec.file} is not there")
    monkeypatch.setenv("MCNET_DATA", str(folder))
    assert find_file("face-landmarker") == folder / "weights" / spec.file


@pytest.mark.parametrize("text", ["[]", "null", "{", "{\"a\": 3}", "{\"a\": {\"file\": \"../b\"}}"])
def test_a_damaged_registry_is_named(tmp_path, text):
    path = tmp_path / "weights.json"
    path.write_text(text)
    with pytest.raises(UserError, match="weights.json"):
        known_weights(path)


def test_a_user_without_a_home(monkeypatch):
    "As in a container: no HOME, and no entry in the list of users."
    for name in ("HOME", "MCNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless(cls):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(homeless))
    assert cache_folder().name == "mcnet"
    assert find_file("face-landmarker") is None or find_file("face-landmarker").is_file()


def test_the_home_of_somebody_else(monkeypatch, tmp_path):
    "As in a container, where HOME is / or root's: what is there is read, and new things go where they can be kept."
    monkeypatch.delenv("MCNET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / ".cache"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "mcnet"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cache_folder() == Path(tempfile.gettempdir()) / "mcnet"
    (tmp_path / "home" / ".cache" / "mcnet").mkdir(parents=True)
    assert cache_folder() == tmp_path / "home" / ".cache" / "mcnet"


def test_names_need_no_pytorch():
    "Listing and resolving load neither PyTorch nor Pillow nor FFmpeg."
    code = "import sys; from mcnet.animation.weights import known_weights, resolve; known_weights(); resolve('tiny');"
    code += "print(*{'torch', 'av', 'PIL', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done


def test_a_login_page_is_no_beginning(server, spec, cache):
    "A page instead of the file is refused, and the next try starts with nothing of it."
    server.manners = {"content": b"<!DOCTYPE html><html>please log in</html>"}
    with pytest.raises(UserError):
        quick(spec)
    assert not [path for path in cache.iterdir() if path.suffix == ".part"]
    server.manners = {}
    assert quick(spec).read_bytes() == CONTENT


def test_the_folder_of_a_training_stands_for_its_weights(tmp_path):
    with pytest.raises(UserError, match="holds no weights.safetensors"):
        resolve(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    assert resolve(tmp_path) == tmp_path / "weights.safetensors"


def test_a_files_content_says_what_it_is(tmp_path, registry):
    "Not its suffix; and who names the checkpoint of a run of training, or its folder, hears which file is meant."
    config, parts = small_release()
    for name in ("theirs.ckpt", "theirs.bin", "theirs.pth.tar"):
        torch.save(parts, tmp_path / name)
        assert load_network(tmp_path / name, registry).config == config
    (tmp_path / "page.pth.tar").write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(UserError, match="saved web page"):
        load_network(tmp_path / "page.pth.tar", registry)
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(UserError, match="holds no weights.safetensors"):
        load_network(run, registry)
    tiny_weights(run / "weights.safetensors")
    torch.save({"step": 3, "model": {}}, run / "checkpoint.pt")
    assert load_network(run, registry).config == MCNetConfig.tiny()
    with pytest.raises(UserError, match="what animates is .*run.weights.safetensors"):
        load_network(run / "checkpoint.pt", registry)
