"Truth, evaluation, benchmark: what must rank above what, files that repeat to the last digit, one sentence each."

import csv
import json

import pytest
import torch
from repository import DATA, ROOT
from torch import nn

from mcnet.animation.weights import known_weights, load_network, show_licence
from mcnet.baseline.grid import identity_grid
from mcnet.cli import main as cli
from mcnet.core import Motion, Pair, Prediction, UserError
from mcnet.evaluation import benchmark as bench
from mcnet.evaluation.evaluate import evaluate, judge_answers, reference_answers, same_person, save_report, tabulate
from mcnet.evaluation.judges import JUDGES, Seen
from mcnet.evaluation.truth import Example, draw_examples, flow_error, landmark_error, occlusion_scores, ranking_scores
from mcnet.media.pictures import read_image, write_image
from mcnet.media.recording import video_writer

NETWORK = "tiny-synthetic"


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch, capsys):
    "A state folder of their own, in which every licence has been shown: what was said before does not matter."
    monkeypatch.setenv("MCNET_CACHE", str(tmp_path_factory.mktemp("state")))
    for name, spec in known_weights().items():
        show_licence(name, spec.licence, spec.data)
    capsys.readouterr()


@pytest.fixture(scope="module")
def clips():
    return list(bench.draw_clips(3, 5))


@pytest.fixture(scope="module")
def report(clips):
    "The shipped network on three short performances."
    network = load_network(NETWORK)
    return bench.benchmark({"own warp": bench.animating(network, "warped"), "trained": bench.animating(network)}, clips)


@pytest.fixture(scope="module")
def examples():
    return list(draw_examples(3, 4))


def fade(source, video):
    "A method that moves nothing and darkens."
    return 0.8 * source.expand_as(video)


def levels(video):
    "As a picture file keeps it."
    return (video * 255).round() / 255


def refused(capsys, folder, *words):
    "Run `mcnet`; give the one sentence it says, having seen that it left nothing behind."
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    said = capsys.readouterr()
    assert left.value.code == 2 and said.out == ""
    assert said.err.count("\n") == 1 and "Traceback" not in said.err
    assert sorted(folder.rglob("*")) == before
    return said.err


# ---- what ranks above what


@pytest.mark.parametrize("track", bench.TRACKS)
def test_motion_ranks(report, track):
    motion = {row["method"]: row["motion"][0] for row in report.rows if row["group"] == track}
    assert motion["oracle"] == 1 and abs(motion["copy"]) < 1e-6
    assert motion["oracle"] > motion["trained"] > motion["copy"] > motion["shuffled driving"]
    assert min(motion, key=motion.get) == "shuffled driving"  # the cheat is last
    assert motion["own warp"] > 0.5 and motion["true-flow warp"] > 0.5


@pytest.mark.parametrize("track", bench.TRACKS)
def test_doing_nothing_keeps_the_identity_best(report, track):
    identity = {row["method"]: row["identity"][0] for row in report.rows if row["group"] == track}
    assert max(identity, key=identity.get) == "copy" and identity["copy"] == pytest.approx(1, abs=1e-5)


def test_the_driver_himself_is_found_out(clips):
    "All of the motion, none of the identity."
    thief = bench.benchmark({"thief": lambda source, video: video}, clips[:2])
    assert thief["thief", "same", "motion"] == 1 and thief["thief", "cross", "identity"] < 0.7


def test_committed_results_rank():
    "The whole set: true flow before the network before its own warp before copying, and the cheat last."
    kept = json.loads((ROOT / "data" / "benchmark" / f"{bench.BENCHMARK}.json").read_text())
    assert kept["set"] == bench.BENCHMARK and (kept["clips"], kept["frames"], kept["size"]) == (16, 12, 64)
    assert kept["reader"]["sha256"] == known_weights()["face-reader"].sha256[:16]
    for track in bench.TRACKS:
        for measure in ("motion", "face motion"):
            value = {row["method"]: row[measure][0] for row in kept["rows"] if row["group"] == track}
            order = ["oracle", "true-flow warp", NETWORK, f"{NETWORK}, own warp", "copy", "shuffled driving"]
            assert sorted(order, key=lambda name: -value[name]) == order, (track, measure)


# ---- the same file every time


def test_two_runs_give_one_file(clips, tmp_path):
    first, second = (bench.benchmark({"fade": fade}, clips[:2]) for _ in range(2))
    files = save_report(first, tmp_path)
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())
    assert json.loads(files[0].read_text()) == second.to_dict()
    assert second.about["hash"] == bench.fingerprint(clips[:2])


def test_the_set_is_drawn_alike_twice(clips):
    again = next(bench.draw_clips(3, 5))
    assert all(torch.equal(a, b) for a, b in zip(clips[0][1:], again[1:]))
    changed = again._replace(source=(again.source + 1 / 255).clamp(0, 1))
    assert bench.fingerprint([changed]) != bench.fingerprint([again]) == bench.fingerprint(clips[:1])


def test_batch_size_changes_no_digit(examples):
    network = load_network(NETWORK)
    some = examples[2:8]
    source, driving = (torch.stack([e[i] for e in some]) for i in (0, 1))
    people, texts = [e.person for e in some], set()
    for size in (1, 4, 6):
        batches = [Pair(s, d) for s, d in zip(source.split(size), driving.split(size))]
        texts.add(json.dumps(evaluate(network, same_person(batches, people)).to_dict()))
    assert len(texts) == 1


# ---- files from elsewhere


def test_folder_of_results(clips, tmp_path):
    "Pictures in folders score as the function that made them; a video without loss may stand in for a folder."
    coarse = lambda source, video: levels(fade(source, video))
    for clip in clips[:2]:
        for track in bench.TRACKS:
            place = tmp_path / f"{track}-{clip.person:02d}"
            if (clip.person, track) == (1, "cross"):
                with video_writer(place.with_suffix(".gif"), 6) as write:
                    for frame in coarse(clip.source, clip.driver):
                        write(frame)
                continue
            place.mkdir()
            for i, frame in enumerate(coarse(clip.source, clip.driving(track))):
                write_image(place / f"{i:04d}.png", frame)
    report = bench.benchmark({"files": tmp_path, "function": coarse}, clips[:2])
    for measure in report.measures:
        assert report["files", "same", measure] == report["function", "same", measure]
    assert abs(report["files", "cross", "psnr"] - report["function", "cross", "psnr"]) < 3  # a gif has 256 colours


def test_questions_on_disk(clips, tmp_path):
    bench.write_clips(clips[:2], tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cross-00", "cross-01", "same-00", "same-01"]
    assert torch.equal(read_image(tmp_path / "cross-01" / "source.png"), clips[1].source)
    frames = sorted((tmp_path / "cross-01" / "driving").iterdir())
    assert torch.equal(torch.stack([read_image(frame) for frame in frames]), clips[1].driver)


# ---- one sentence each


def test_wrong_results(clips, tmp_path):
    clip = clips[0]
    with pytest.raises(UserError, match="holds no result same-00"):
        bench.perform(tmp_path, clip, "same")
    (tmp_path / "same-00").mkdir()
    for i in range(3):
        write_image(tmp_path / "same-00" / f"{i}.png", clip.source)
    with pytest.raises(UserError, match=r"result of same-00 has shape \(3, .*\(5, 3, 64, 64\) is needed"):
        bench.perform(tmp_path, clip, "same")
    with pytest.raises(UserError, match="has type list"):
        bench.perform(lambda source, video: list(video), clip, "same")
    with pytest.raises(UserError, match="not finite"):
        bench.perform(lambda source, video: video * float("nan"), clip, "same")
    with pytest.raises(UserError, match="no clip"):
        bench.benchmark(fade, [])


def test_wrong_commands(capsys, tmp_path):
    said = lambda *words: refused(capsys, tmp_path, *words, "--out", tmp_path / "out")
    assert "not a folder" in said("benchmark", "--folder", tmp_path / "nowhere")
    assert "leave --size out" in said("benchmark", "--weights", "tiny", "--size", "128")
    assert "nobody" in said("evaluate", "--weights", "nobody")
    assert "belongs to a folder" in said("evaluate", "--pairs", tmp_path / "list.csv")
    assert "does not exist" in said("evaluate", "--data", tmp_path, "--pairs", tmp_path / "list.csv")
    assert "clips" in said("evaluate", "--data", tmp_path)


def test_nothing_to_evaluate(examples):
    with pytest.raises(UserError, match="at least one pair"):
        evaluate(load_network(NETWORK), [])
    with pytest.raises(UserError, match="only judges can score"):
        blind = [e._replace(truth=None, deformation=None, visible=None) for e in examples]
        evaluate(lambda source, driving: source, blind)
    with pytest.raises(UserError, match="one for each"):
        evaluate(lambda source, driving: source, examples, motion=torch.ones(3))


def test_a_bad_place_is_said_first(examples, clips, tmp_path):
    "Nothing is evaluated, performed or written where the report cannot be."
    (tmp_path / "file").write_text("no folder")

    def never(*_):
        raise AssertionError("worked before the place was tried")

    for work in (evaluate, bench.benchmark):
        given = examples if work is evaluate else clips
        with pytest.raises(UserError, match="file is a file, not a folder; choose another folder"):
            work(never, given, out=tmp_path / "file")
    with pytest.raises(UserError, match="file is a file, not a folder"):
        bench.write_clips(clips, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_report_is_whole_or_not_there(examples, clips, tmp_path, monkeypatch):
    "What breaks in the middle leaves an empty folder; what ends well leaves the files that `save_report` writes."

    def broken(*_, **__):
        raise RuntimeError("in the middle")

    still = lambda source, driving: source.expand_as(driving)
    for work, given in ((evaluate, examples), (bench.benchmark, clips[:1])):
        place = tmp_path / work.__name__
        with pytest.raises(RuntimeError, match="in the middle"):
            work(broken, given, out=place)
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="in the middle"):
            patch.setattr("pathlib.Path.write_text", broken)
            work(still, given, out=place)
        assert not list(place.iterdir())
        report = work(still, given, out=place)
        assert {path.name for path in place.iterdir()} == {"report.json", "report.txt", "scores.png", "examples.png"}
        assert json.loads((place / "report.json").read_text()) == json.loads(json.dumps(report.to_dict()))


# ---- truth


def test_flow_error_in_pixels():
    truth = torch.zeros(1, 9, 9, 2)
    visible = torch.ones(1, 1, 9, 9)
    visible[..., :3] = 0
    off = truth.clone()
    off[..., 0] = 2 / 8 * 3  # three pixels
    off[:, :, :3] = 100  # where nobody looks
    assert flow_error(off, truth, visible).item() == pytest.approx(3)
    assert flow_error(off, truth, torch.zeros_like(visible)).isnan().all()


def test_ranking_scores_against_counting():
    generator = torch.Generator().manual_seed(0)
    score = torch.randint(0, 5, (40,), generator=generator).float()  # many ties
    positive = torch.rand(40, generator=generator) < 0.3
    hits, others = score[positive], score[~positive]
    pairs = (hits[:, None] > others).float() + 0.5 * (hits[:, None] == others)
    precisions = []
    for threshold in score.unique().flip(0):
        taken = score >= threshold
        share = (positive & (score == threshold)).sum() / positive.sum()
        precisions.append(share * (positive & taken).sum() / taken.sum())
    precision, area = ranking_scores(score, positive)
    assert area == pytest.approx(pairs.mean().item(), abs=1e-6)
    assert precision == pytest.approx(sum(precisions).item(), abs=1e-6)


def test_occlusion_is_judged_by_order_alone(examples):
    visible = torch.stack([e.visible for e in examples])
    soft = nn.functional.avg_pool2d(visible, 5, 1, 2)
    scores = occlusion_scores(soft, visible)
    torch.testing.assert_close(occlusion_scores(soft**3 / 7 + 2, visible), scores, equal_nan=True, atol=1e-4, rtol=0)
    assert scores[:, 1].nanmean() > 0.9 and occlusion_scores(1 - soft, visible)[:, 1].nanmean() < 0.1


def test_landmark_error_of_doing_nothing():
    source = torch.tensor([[[0.0, 0.0], [0.5, 0.5]]])
    driving = source + torch.tensor([0.2, 0.0])
    seen = torch.tensor([[True, True]])
    still = identity_grid(21, 21)[None]
    found = landmark_error(still, source, driving, visible=seen, size=21)
    assert found.item() == pytest.approx(2, abs=1e-3)


def test_cross_examples_share_their_truth(examples):
    crossed = list(draw_examples(3, 4, cross=True))
    for own, other in zip(examples, crossed):
        assert torch.equal(own.truth, other.truth) and torch.equal(own.deformation, other.deformation)
        assert not torch.equal(own.driving, other.driving)


# ---- bookkeeping


class Squinting:
    "A tool that sees a face only on light pictures, and calls their brightness a landmark."

    name = "mediapipe"

    def __call__(self, pictures):
        light = pictures.mean((1, 2, 3))
        points = torch.where(light > 0.5, light, torch.nan)[:, None, None].expand(-1, 478, 2)
        return Seen(points, None, points[:, :51, 0], torch.eye(4).repeat(len(pictures), 1, 1))


def test_failures_are_counted_and_paired():
    grey = lambda value: torch.full((3, 32, 32), value)
    examples = [Example(grey(s), grey(0.8), grey(0.8), i) for i, s in enumerate((0.6, 0.7, 0.9))]
    dims = {"half": lambda source, driving: torch.where(source > 0.8, 0.1, source)}
    report = evaluate(dims, examples, tools=[Squinting()])
    lost = report.failures["AKD-mediapipe"]
    assert lost == {"copy": 0, "blurred copy": 0, "oracle": 0, "half": 1}
    copied = judge_answers({"copy": reference_answers(examples[2])["copy"]}, examples[2], [Squinting()])
    assert copied["copy"]["AKD-mediapipe"] > 0  # it could be told, and is left out all the same
    mean = (0.2 + 0.1) / 2 * 2**0.5 * 255 / 2
    assert report["copy", "all", "AKD-mediapipe"] == pytest.approx(report["half", "all", "AKD-mediapipe"])
    assert report["copy", "all", "AKD-mediapipe"] == pytest.approx(mean, rel=1e-4)


def test_two_people_are_not_compared_by_places():
    grey = torch.full((3, 32, 32), 0.7)
    values = judge_answers({"x": reference_answers(Example(grey, grey, None, 0))["copy"]},
                           Example(grey, grey, None, 0), [Squinting()])["x"]  # fmt: skip
    assert "AKD-mediapipe" not in values and "PRMSE-mediapipe" in values and "AKD-mediapipe" in JUDGES


def test_people_widen_the_interval():
    values = {"m": [{"psnr": float(i // 5)} for i in range(20)]}
    groups = {"all": list(range(20))}
    width = lambda people: (lambda row: row[2] - row[1])(tabulate(values, people, groups)[0][0]["psnr"])
    assert width([i // 5 for i in range(20)]) > 1.5 * width(list(range(20)))


def test_network_rows(examples):
    "A network brings its own warp along, and its flow is scored."

    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing = nn.Parameter(torch.zeros(1))

        def forward(self, source, driving):
            motion = Motion(identity_grid(32, 32)[None], torch.ones(1, 1, 32, 32))
            return Prediction(source / 2, source, motion, None, None)

    report = evaluate({"still": Still()}, examples)
    assert report["still, own warp", "all", "psnr"] == report["copy", "all", "psnr"]
    assert report["still", "all", "flow px"] == pytest.approx(report["copy", "all", "flow px"], abs=1e-3)
    assert set(report.shown) == {"best", "median", "worst"}


def test_real_pairs(tmp_path, capsys):
    "Six pairs of the fixed list, through the command line."
    with (ROOT / "data" / "pairs_real_test.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    clip = rows[1][0]
    if not (DATA / clip).is_file():
        pytest.skip(f"real clips are not here: {clip} is missing in ../shared/data or $MCNET_DATA")
    with (tmp_path / "some.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows[:7])
    words = ["evaluate", "--weights", "tiny", "--data", DATA, "--pairs", tmp_path / "some.csv", "--device", "cpu"]
    with pytest.raises(SystemExit) as left:
        cli.main([*map(str, words), "--out", str(tmp_path / "out")])
    assert not left.value.code
    kept = json.loads((tmp_path / "out" / "report.json").read_text())
    assert kept["pairs"] == 6 and kept["people"] == 1 and "nan" not in json.dumps(kept).lower()
    wanted = ["examples.png", "report.json", "report.txt", "scores.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == wanted


def test_references_keep_their_rows(tmp_path):
    "A method or a folder called like a reference is refused; folders of one name keep both their results."
    for name in ("oracle", "Copy", "copy, own warp"):
        with pytest.raises(UserError, match="reference"):
            evaluate({name: lambda source, driving: source}, [])
        with pytest.raises(UserError, match="reference"):
            bench.benchmark({name: lambda source, video: video}, [])
    folders = [tmp_path / one / "mine" for one in "ab"]
    assert list(bench.name_folders(folders)) == ["a/mine", "b/mine"]
    assert list(bench.name_folders(folders[:1])) == ["mine"]
    with pytest.raises(UserError, match="reference"):
        bench.name_folders([tmp_path / "oracle"])
