"What every page stands on: devices by all their names, processors that cannot be asked, colours that do not change."

import pytest
import torch

from mcnet.core import UserError, half_precision, pick_device
from mcnet.plots import keypoint_colours

CPUS = ["cpu", "CPU", " cpu ", "cpu:0", torch.device("cpu"), torch.device("cpu", 0)]


@pytest.mark.parametrize("name", CPUS, ids=repr)
def test_every_name_of_the_processor(name):
    "However it is written, it is the same device."
    assert pick_device(name) == torch.device("cpu")


def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize("name, index", [("cuda", None), ("cuda:1", 1), (1, 1), ("0", 0), (torch.device("cuda:1"), 1)])
def test_a_gpu_by_its_number(monkeypatch, name, index):
    "The second of two GPUs can be asked for, by any of its names."
    two_gpus(monkeypatch)
    assert pick_device(name) == torch.device("cuda", index) if index is not None else torch.device("cuda")


@pytest.mark.parametrize("name", ["tpu", "cuda:2", 2, -1, "cpu:1", "cuda:x", "", None, torch.device("meta")], ids=repr)
def test_what_is_not_there_is_refused_in_a_sentence(monkeypatch, name):
    "The sentence says what was given and what there is."
    two_gpus(monkeypatch)
    with pytest.raises(UserError, match=r"is not available here; use auto or one of: cuda:0, cuda:1,.* cpu") as caught:
        pick_device(name)
    assert f"device {name} " in str(caught.value)


def test_a_build_that_cannot_be_asked_trains_in_full_precision(monkeypatch):
    "Some builds of PyTorch lack the query for bfloat16: nothing stops, nothing is imitated."

    class Bare:
        pass

    monkeypatch.setattr(torch.ops, "mkldnn", Bare())
    assert half_precision("cpu") is False


def test_a_keypoint_keeps_its_colour():
    "Keypoint k looks the same among 3, 10 or 68 points, and neighbours differ."
    many = keypoint_colours(68)
    for count in (1, 3, 10, 15, 50):
        assert keypoint_colours(count) == many[:count]
    gaps = [sum((x - y) ** 2 for x, y in zip(a, b)) ** 0.5 for i, a in enumerate(many[:10]) for b in many[:i]]
    assert min(gaps) > 0.15
