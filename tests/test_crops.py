"Face crops and checks: boxes, cut and paste, one box per video, finders (made up, OpenCV's, MediaPipe's), sentences."

import math
import os
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from repository import DATA

from mcnet.core import Notice, UserError
from mcnet.heads import faces
from mcnet.media import checks, finders
from mcnet.media.crops import SIDE, Box, clip_box, cut, face_box, paste
from mcnet.media.finders import MediapipeFaces, MediapipeLandmarks, OpenCVFaces, pick_finder
from mcnet.media.landmarks import Face, face_from_landmarks
from mcnet.media.pictures import fit_square, read_image, to_bytes

MODEL = DATA / "weights" / MediapipeFaces.file


def smooth(height, width, seed=0):
    "A picture without sharp edges."
    rough = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, (height, width), mode="bicubic", align_corners=True)[0].clamp(0, 1)


# ---- boxes, cut, paste


def test_face_box():
    box = face_box(Face(10, 20, 90, 120))
    assert box == pytest.approx((50 - 80, 70 - 6 - 80, 160))
    wide = face_box(Face(0, 0, 100, 80))  # the longer side counts
    assert wide.side == pytest.approx(160)


def test_box_of_landmarks():
    points = torch.rand(478, 2, generator=torch.Generator().manual_seed(0)) * 100
    face = face_from_landmarks(points)
    assert face[:4] == pytest.approx((*points.amin(0).tolist(), *points.amax(0).tolist()))
    assert face_from_landmarks(points[:68]).top < points[:68, 1].min()  # a forehead is added
    moved = face.moved(5, -3, 2)
    assert moved.left == pytest.approx(2 * face.left + 5)
    assert moved.landmarks[0, 1] == pytest.approx(2 * points[0, 1] - 3)


def test_cut_known_answers():
    image = torch.rand(3, 70, 91, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cut(image, Box(20, 10, 40), 40), image[:, 10:50, 20:60])
    middle = cut(image, Box(10.5, 0, 70), 32)[:, 1:-1, 1:-1]
    assert middle.shape == (3, 30, 30)
    square = image[:, :, :70]
    torch.testing.assert_close(cut(square, Box(0, 0, 70), 35)[:, 2:-2, 2:-2], fit_square(square, 35)[:, 2:-2, 2:-2])
    assert torch.equal(cut(image, Box(-500, -500, 10), 4), image[:, :1, :1].expand(3, 4, 4))
    right = cut(image, Box(95, 20, 20), 20)
    torch.testing.assert_close(right, image[:, 20:40, -1:].expand(3, 20, 20))


def test_cut_keeps_a_constant_and_a_ramp():
    ramp = (torch.arange(200.0) + 0.5).expand(3, 100, 200) / 200
    for box, size in ((Box(33.3, 10.1, 77.7), 64), (Box(50.5, 20.25, 20.0), 64), (Box(40, 10, 80), 80)):
        wanted = (box.left + (torch.arange(size) + 0.5) * box.side / size) / 200
        within = 1e-6 if box.side <= size else 0.1 / 200  # sampled triangles lean by up to a tenth of a pixel
        torch.testing.assert_close(cut(ramp, box, size)[1, 5], wanted, atol=within, rtol=0)
    assert (cut(torch.full((3, 50, 50), 7, dtype=torch.uint8), Box(-20, 3.3, 60), 32) == 7).all()


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "box", [Box(30, 20, 64), Box(30.4, 20.7, 61.3), Box(-21.5, -11.2, 90.9), Box(80.1, 60.9, 77.7)]
)
def test_cut_and_paste_are_inverse(kind, box):
    "The untouched square leaves the frame as it was, at odd sizes, between pixels and partly outside."
    frame = smooth(101, 133)
    frame = to_bytes(frame) if kind == torch.uint8 else frame.to(kind)
    for softness in (0, 0.12, 0.5):
        back = paste(frame, cut(frame, box, 96), box, softness=softness)
        assert back.dtype == kind and back.shape == frame.shape
        error = (back.double() - frame.double()).abs().max() / (255 if kind == torch.uint8 else 1)
        assert error < 0.012, error


def test_paste_lands_where_it_was_cut():
    "The centre of gravity of a dot does not move by a hundredth of a pixel."
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(120.0), indexing="ij")
    dot = torch.exp(-((x - 61.3) ** 2 + (y - 40.8) ** 2) / 50).expand(3, -1, -1)
    back = paste(torch.zeros_like(dot), cut(dot, Box(25.7, 9.1, 66.6), 64), Box(25.7, 9.1, 66.6), softness=0.05)[0]
    assert float((back * x).sum() / back.sum()) == pytest.approx(61.3, abs=0.01)
    assert float((back * y).sum() / back.sum()) == pytest.approx(40.8, abs=0.01)


@pytest.mark.parametrize(
    "box", [Box(30.4, 20.7, 41.3), Box(-21.5, -11.2, 60.9), Box(100.1, 70.9, 77.7), Box(400, 9, 20)]
)
def test_outside_is_bit_identical(box):
    frame = torch.randint(0, 256, (3, 101, 133), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for softness in (0, 0.12):
        result = paste(frame, torch.ones(3, 64, 64), box, softness=softness)
        assert result.data_ptr() != frame.data_ptr()
        y, x = torch.meshgrid(torch.arange(101) + 0.5, torch.arange(133) + 0.5, indexing="ij")
        inside = (x > box.left) & (x < box.left + box.side) & (y > box.top) & (y < box.top + box.side)
        assert torch.equal(result[:, ~inside], frame[:, ~inside])
        if softness == 0:
            assert (result[:, inside] == 255).all()


def test_soft_edge_rises_once():
    line = paste(torch.zeros(3, 200, 200), torch.ones(3, 64, 64), Box(50, 50, 100))[0, 100]
    assert (line[51:100].diff() >= -1e-6).all() and line[50] < 0.01 and line[63] > 0.99
    assert line[:50].max() == 0 and torch.allclose(line, line.flip(0), atol=1e-5)


def test_wrong_shapes():
    with pytest.raises(UserError, match="square"):
        paste(torch.zeros(3, 20, 20), torch.zeros(3, 4, 5), Box(0, 0, 5))
    with pytest.raises(UserError, match="picture"):
        cut(torch.zeros(1, 3, 20, 20), Box(0, 0, 5), 4)


# ---- one box for a video


def script(faces_of_frame, count):
    "Frames that carry their number, and a finder that reads it; `asked` lists what was looked at."
    asked = []

    def finder(frame):
        asked.append(int(frame[0, 0, 0]))
        return sorted(faces_of_frame(asked[-1]), key=lambda face: -face.size)

    return (torch.full((3, 4, 4), float(n)) for n in range(count)), finder, asked


def square_face(x, y, size):
    return Face(x - size / 2, y - size / 2, x + size / 2, y + size / 2)


@pytest.mark.parametrize("count", [1, 2, 17, 31, 32, 33, 1000])
def test_looks_are_even_and_few(count):
    frames, finder, asked = script(lambda n: [square_face(100, 100, 50)], count)
    assert clip_box(frames, finder) == pytest.approx(face_box(square_face(100, 100, 50)))
    assert len(asked) <= 32 + 16 * max(0, math.ceil(math.log2(count / 32)))
    assert asked == sorted(asked) and max(asked) >= count - max(1, count // 16)


def test_memory_is_constant():
    "A generator is read once, and no frame is kept."
    given, most = [], 0

    def frames():
        nonlocal most
        for n in range(300):
            frame = torch.full((3, 4, 4), float(n))
            given.append(weakref.ref(frame))
            most = max(most, sum(kept() is not None for kept in given))
            yield frame

    clip_box(frames(), lambda frame: [square_face(50, 50, 20)])
    assert len(given) == 300 and most <= 2


def test_moving_face_fits():
    frames, finder, _ = script(lambda n: [square_face(100 + 15 * math.sin(n / 5), 100, 50)], 200)
    box = clip_box(frames, finder)
    assert box.side >= SIDE * 50 and box.left <= 60 and box.left + box.side >= 140


def test_far_motion_is_said():
    frames, finder, _ = script(lambda n: [square_face(60 + 1.5 * n, 100, 50)], 100)
    with pytest.warns(Notice, match="leaves the square in"):
        box = clip_box(frames, finder)
    assert box.side <= 1.3 * SIDE * 50 + 1e-6  # it does not grow for ever


def test_false_alarms_do_not_count():
    alarm = lambda n: [square_face(100, 100, 50)] if n % 5 or n == 0 else [square_face(130, 110, 90)]
    frames, finder, _ = script(alarm, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        box = clip_box(frames, finder)
    assert abs(box.left + box.side / 2 - 100) < 1e-6


def test_same_person_though_the_order_swaps():
    left, right = (lambda n: square_face(60, 100, 40 + n)), (lambda n: square_face(200, 100, 60 - n))
    for which, x in ((0, 200), (1, 60)):
        frames, finder, _ = script(lambda n: [left(n), right(n)], 20)
        box = clip_box(frames, finder, which=which)
        assert box.left + box.side / 2 == pytest.approx(x)


def test_missing_in_some_frames():
    frames, finder, _ = script(lambda n: [square_face(100, 100, 50)] if n % 4 else [], 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clip_box(frames, finder) == pytest.approx(face_box(square_face(100, 100, 50)))
    other = lambda n: [square_face(300, 100, 60)] * (n > 0)
    frames, finder, _ = script(lambda n: [square_face(100, 100, 50)] if n % 2 else other(n), 16)
    with pytest.warns(Notice, match="found in 8 of 16"):
        box = clip_box(frames, finder)
    assert box.left + box.side / 2 == pytest.approx(100)  # never the other person


def test_nobody_and_nothing():
    for count, which, message in ((5, 0, "no face was found in 5 frames"), (0, 0, "no frames")):
        frames, finder, _ = script(lambda n: [], count)
        with pytest.raises(UserError, match=message):
            clip_box(frames, finder, which=which)
    frames, finder, _ = script(lambda n: [square_face(9, 9, 5)], 5)
    with pytest.raises(UserError, match="at most 1 "):
        clip_box(frames, finder, which=1)


# ---- finders


class Cascade:
    "OpenCV's interface: one square in the middle of the picture, half as wide."

    def __init__(self, path):
        assert path.endswith("haarcascade_frontalface_default.xml")

    def detectMultiScale3(self, grey, scale, neighbours, outputRejectLevels):  # noqa: N802
        height, width = grey.shape
        assert grey.dtype == np.uint8 and outputRejectLevels
        return np.array([[width // 4, height // 4, width // 2, width // 2]]), None, np.array([3.5])


def fake_opencv(monkeypatch, folder):
    data = types.SimpleNamespace(haarcascades=str(folder) + "/")
    module = types.SimpleNamespace(__version__="9.9", CascadeClassifier=Cascade, data=data)
    monkeypatch.setitem(sys.modules, "cv2", module)
    monkeypatch.setitem(sys.modules, "cv2.data", data)


def test_opencv_squares_become_faces(monkeypatch, tmp_path):
    (tmp_path / "haarcascade_frontalface_default.xml").write_text("")
    fake_opencv(monkeypatch, tmp_path)
    (face,) = pick_finder()(torch.rand(3, 200, 400))
    assert face.score == 3.5 and face.landmarks is None
    assert face.centre == pytest.approx((200, 50 + 0.57 * 200)) and face.size == pytest.approx(0.96 * 200)


def test_opencv_without_its_file(monkeypatch, tmp_path):
    fake_opencv(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="OpenCV 9.9 comes without"):
        OpenCVFaces()
    assert pick_finder() is None
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match="needs OpenCV"):
        OpenCVFaces()


def test_without_mediapipe(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    (tmp_path / "face.task").touch()
    with pytest.raises(UserError, match="pip install mediapipe"):
        MediapipeFaces(tmp_path / "face.task")
    with pytest.raises(UserError, match="does not exist"):  # true with and without mediapipe
        MediapipeFaces("nowhere.task")


@pytest.fixture(scope="module")
def finder():
    pytest.importorskip("mediapipe", reason="mediapipe is not installed")
    if not MODEL.is_file():
        pytest.skip(f"{MODEL} is missing: MediaPipe's face landmarker")
    with MediapipeFaces(MODEL) as finder:
        yield finder


@pytest.fixture(scope="module")
def stills():
    found = sorted((DATA / "stills").glob("*.jpg"))[::8]
    if not found:
        pytest.skip(f"{DATA / 'stills'} is missing: photos of faces")
    return [read_image(path) for path in found]


def test_mediapipe_on_photos(finder, stills):
    for image in stills:
        (face,) = finder(image)
        assert face.landmarks.shape == (478, 2) and 0.4 < face.size / 256 < 0.8
        (small,) = finder(fit_square(image, 64))
        assert [4 * v for v in small[:4]] == pytest.approx(face[:4], abs=12)
        assert not checks.check_framing(face, face_box(face))


def test_mediapipe_looks_closer(finder, stills):
    "A small face in a large picture, one that fills the picture, and two of them."
    wide = smooth(1200, 1800)
    wide[:, 700:880, 1500:1680] = fit_square(stills[0], 180)
    (face,) = finder(wide)
    assert abs(face.centre[0] - 1590) < 30 and abs(face.centre[1] - 790) < 40 and 60 < face.size < 160
    whole = finder(stills[0])[0]
    close = stills[0][:, int(whole.top) + 30 : int(whole.bottom) - 20, int(whole.left) + 20 : int(whole.right) - 20]
    (face,) = finder(to_bytes(close))
    assert face.size > 0.9 * max(close.shape[1:])
    both = torch.cat([fit_square(stills[1], 180), smooth(180, 40), stills[0][:, :180]], dim=2)
    assert len(finder(both)) == 2 and finder(both)[0].centre[0] > 220  # the larger one first


def test_mediapipe_landmarks(finder, stills):
    with MediapipeLandmarks(MODEL) as landmarks:
        points = landmarks(torch.stack([stills[0], torch.zeros_like(stills[0])]))
    assert points.shape == (2, 478, 2) and points[1].isnan().all()
    pixels = (points[0] + 1) / 2 * 255 + 0.5
    assert (pixels - finder(stills[0])[0].landmarks).abs().max() < 1


def test_mediapipe_is_quiet(finder, tmp_path):
    "Nothing on stderr: not when it starts, not when Python ends without having closed it."
    code = f"import torch; from mcnet.media import finders; finders.MediapipeFaces({str(MODEL)!r})(torch.rand(3, 9, 9))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == ""


def test_nobody_loses_stderr(capfd):
    "While MediaPipe's start is kept quiet, other threads write, and a child is born that wants quiet, too."
    inside, gate = threading.Event(), threading.Barrier(4)

    def start():
        gate.wait()
        with finders._silent():
            os.write(2, b"W0000 00:00:17 face_landmarker.cc:174] Sets\nINFO: Created XNNPACK delegate\n")
            inside.set()
            time.sleep(0.05)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.wait()
    os.write(2, b"parent\n")
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os.write(2, b"child\n")
        with finders._silent():
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for thread in threads:
        thread.join()
    assert sorted(capfd.readouterr().err.split()) == ["child", "parent"]


# ---- checks


def portrait(size=128, **changes):
    "A drawn person (always the same) and the face."
    people = faces.sample_people(3, generator=torch.Generator().manual_seed(0))[2:]
    motion = faces.neutral_motion(1)
    motion = type(motion)(**{**vars(motion), **{key: torch.tensor([value]) for key, value in changes.items()}})
    drawn = faces.render(faces.combine(people, motion), size, truth=True)
    return drawn.image[0], face_from_landmarks((drawn.landmarks[0] + 1) / 2 * (size - 1) + 0.5)


def test_a_good_portrait_is_left_in_peace():
    image, face = portrait()
    assert checks.check_source(image, face, 128) == checks.check_source(to_bytes(image), face, 64) == []


@pytest.mark.parametrize(
    "change, word",
    [
        ({"pose": [0.75, 0.0, 0.0]}, "turned by about"),
        ({"pose": [-0.75, 0.0, 0.0]}, "turned by about"),
        ({"blink": [1.0, 1.0]}, "eyes are closed"),
        ({"expression": [1.0] + 7 * [0.0]}, "mouth is open"),
    ],
)
def test_one_sentence_for_one_fault(change, word):
    notes = checks.check_source(*portrait(**change), 128)
    assert len(notes) == 1 and word in notes[0] and "; use a picture" in notes[0]


def test_small_blurred_and_cut_off():
    image, face = portrait()
    (note,) = checks.check_source(image, face, 512)
    assert "has only" in note and "512" in note
    soft = F.interpolate(fit_square(image, 32)[None], (128, 128), mode="bicubic", align_corners=False)[0].clamp(0, 1)
    (note,) = checks.check_source(soft, face, 128)
    assert "blurred" in note
    tight = [round(v) for v in face[:4]]
    part = image[:, tight[1] : tight[3], tight[0] : tight[2]]
    (note,) = checks.check_source(part, face.moved(-tight[0], -tight[1]), 64)
    assert "outside the picture" in note


def test_resolved_grows_with_the_pixels():
    image, _ = portrait()
    shares = (0.125, 0.25, 0.35, 0.5, 0.75, 1)
    small = [fit_square(image, round(128 * share)) for share in shares]
    told = [checks.resolved(F.interpolate(s[None], (128, 128), mode="bicubic", align_corners=False)[0]) for s in small]
    assert told == sorted(told) and told[0] < 0.2 and told[-1] > 0.9
    assert checks.resolved(0.3 + 0.4 * small[-1]) == pytest.approx(told[-1], abs=0.01)  # contrast does not count
    assert 0 <= checks.resolved(torch.full((3, 64, 64), 0.5)) <= 1


def test_pose_and_start():
    _, front = portrait()
    _, right = portrait(pose=[0.5, 0.0, 0.0])
    _, left = portrait(pose=[-0.5, 0.0, 0.0])
    assert checks.head_pose(right).yaw > 15 > abs(checks.head_pose(front).yaw) and checks.head_pose(left).yaw < -15
    assert checks.pose_difference(left, right) > 35 > checks.pose_difference(front, right) > 15
    assert checks.check_start(front, front) == [] and "degrees away" in checks.check_start(left, right)[0]
    with pytest.raises(UserError, match="landmarks"):
        checks.pose_difference(front, Face(0, 0, 5, 5))


def test_several_faces():
    one, two = Face(0, 0, 40, 50), Face(60, 0, 90, 40)
    assert checks.check_faces([one]) == [] and "2 faces were found and number 1" in checks.check_faces([one, two], 1)[0]
    wrong = ([], 0, "no face"), ([one], 5, "^1 face was found, and"), ([one, two], 2, "2 faces were found, and")
    for found, which, message in wrong:
        with pytest.raises(UserError, match=message):
            checks.check_faces(found, which)


def test_framing():
    face = Face(0, 0, 80, 100)
    assert checks.check_framing(face, face_box(face)) == []
    assert "too small: it fills 25%" in checks.check_framing(face, Box(0, 0, 400))[0]
    assert "too large" in checks.check_framing(face, Box(0, 0, 110))[0]
