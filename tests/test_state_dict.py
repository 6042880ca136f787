"The names and shapes inside weights files are a promise: files written today must load tomorrow."

import json
from pathlib import Path

import pytest

from mcnet.animation.weights import known_weights, resolve
from mcnet.doors import load_weights
from mcnet.memory.network import MCNet, MCNetConfig

GOLDEN = Path(__file__).parent / "golden"
CONFIGS = {"small": MCNetConfig.small(), "tiny": MCNetConfig.tiny()}


def shapes(tensors):
    "Name -> shape, as json keeps it."
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def promised(name):
    "What the golden file of a size promises."
    return json.loads((GOLDEN / f"{name}_state_dict.json").read_text())


@pytest.mark.parametrize("name", CONFIGS)
def test_names_are_frozen(name):
    "A renamed, added or reshaped tensor breaks every file out there: write a migration, then a new golden file."
    assert shapes(MCNet(CONFIGS[name]).state_dict()) == promised(name)


NETWORKS = sorted(name for name, spec in known_weights().items() if spec.ships and spec.kind == "network")


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_are_the_full_network(name):
    "What ships is the size of its name, with its memory, and holds what the golden file promises."
    tensors, config, _ = load_weights(resolve(name))
    size = name.split("-")[0]
    assert MCNetConfig.from_dict(config) == CONFIGS[size]
    assert shapes(tensors) == promised(size)
