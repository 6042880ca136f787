"What CONTRIBUTING.md says to somebody who adds something: each snippet is short, runs, and plugs in."

import re
import sys

import pytest
from repository import ROOT, run

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PARTS = dict(re.findall(r"^## (Add a [^\n]*)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))
USED = {
    "Add a compensator": "import torch\nassert network(*torch.rand(2, 1, 3, 64, 64)).image.shape == (1, 3, 64, 64)",
    "Add a term to the loss": """
import torch
from mcnet.core import Pair, seed_everything
from mcnet.memory.network import MCNet, MCNetConfig
from mcnet.training.loop import train
from mcnet.training.recipes import TrainConfig
pair = Pair(*torch.rand(2, 2, 3, 64, 64))
config, apart = TrainConfig.quick().replace(steps=1, norm_batches=1), lambda made, truth: (made - truth).abs().mean()
rows = train(MCNet(MCNetConfig.tiny()), [pair] * 3, config, perceptual=apart, terms=[term], device="cpu").rows
assert rows[-1]["brightness"] > 0
""",
    "Add a metric": """
import torch
source, driving = torch.rand(2, 4, 3, 32, 32)
assert contrast(copy_source(source, driving), driving).shape == (4,)
""",
    "Add a memory": """
question = torch.randn(2, 5, 4)
assert Notes().silenced().read(question).answer.abs().max() == 0 < Notes().read(question).answer.abs().max()
""",
}


@pytest.mark.parametrize("part", USED)
def test_snippet_runs(part):
    "As it stands, and then what it made is used."
    (code,) = re.findall(r"^```python\n(.*?)^```$", PARTS[part], re.M | re.S)
    body = [line for line in code.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(body) <= 11
    done = run(sys.executable, "-c", code + USED[part])
    assert done.returncode == 0, done.stderr


def test_every_plug_is_described():
    "And a page, in steps."
    assert set(USED) | {"Add a page"} == set(PARTS)
    assert len(re.findall(r"^\d\. ", PARTS["Add a page"], re.M)) == 5
