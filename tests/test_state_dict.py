"The names and shapes inside weights files are a promise: files written today must load tomorrow."

import json
from pathlib import Path

import pytest

from mcnet.core import load_weights
from mcnet.network import MCNet, MCNetConfig
from mcnet.weights import known_weights, resolve

GOLDEN = Path(__file__).parent / "golden" / "tiny_state_dict.json"


def shapes(tensors):
    "Name -> shape, as json keeps it."
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def test_names_are_frozen():
    "A renamed, added or reshaped tensor breaks every file out there: write a migration, then a new golden file."
    assert shapes(MCNet(MCNetConfig.tiny()).state_dict()) == json.loads(GOLDEN.read_text())


NETWORKS = sorted(name for name, spec in known_weights().items() if spec.ships and spec.kind == "network")


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_are_the_full_network(name):
    "What ships is MCNetConfig.tiny() with its memory, and holds what the golden file promises."
    tensors, config, _ = load_weights(resolve(name))
    assert MCNetConfig.from_dict(config) == MCNetConfig.tiny()
    assert shapes(tensors) == json.loads(GOLDEN.read_text())
