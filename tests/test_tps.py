"Spline motion where the page does not go: the truth as teacher, resuming a run, the size of each level's map."

import pytest
import torch
from test_training import QUICK, Shifted, equal, run

from mcnet.baseline.generator import Generator, GeneratorConfig
from mcnet.baseline.keypoints import KeypointConfig, KeypointDetector
from mcnet.baseline.tps import BackgroundMotion, TPSConfig, TPSHead, TPSMotion, early_dropout
from mcnet.core import UserError


class PowerCut(Exception):
    pass


def head(dropout=0.3, scale=0.5, channels=(4, 8), seed=0):
    "The smallest spline head that is one."
    torch.manual_seed(seed)
    sizes = dict(width=4, cap=16, blocks=2, kernel=5)
    motion = TPSConfig(num_sets=2, scale=scale, levels=2, dropout=dropout, **sizes)
    detector = KeypointConfig(num_keypoints=10, scale=1, padding=2, jacobian=False, **sizes)
    generator = Generator(GeneratorConfig(channels, residual_blocks=(0,) * len(channels), kernel=5, fuse=True))
    return TPSHead(KeypointDetector(detector), TPSMotion(motion), generator, BackgroundMotion(4, 2))


def test_the_truth_may_teach():
    "Flow and visibility of the renderer fit a motion that is smaller than the picture and has several maps."
    history = run(head(), Shifted(truth=True), QUICK.replace(flow=1.0, visibility=1.0), on_step=early_dropout(0.5))
    assert history.rows[0]["flow"] > 0 and history.rows[0]["visibility"] > 0


def test_every_part_learns():
    "With the truth as teacher no parameter is without a gradient."
    model = head().train()
    prediction = model(*torch.rand(2, 3, 3, 16, 16))
    loss = prediction.image.sum() + prediction.motion.occlusion.sum()
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


def test_an_interrupted_run_goes_on(tmp_path):
    "Without silent sets a run in two sittings ends with the weights of a run in one."

    def cut(state):
        if state.step == 6:
            raise PowerCut

    config = QUICK.replace(save_minutes=0)
    through, again = head(dropout=0.0), head(dropout=0.0, seed=1)
    run(through, config=config)
    with pytest.raises(PowerCut):
        run(head(dropout=0.0), config=config, out=tmp_path, on_step=cut)
    run(again, config=config, out=tmp_path)
    assert equal(through.state_dict(), again.state_dict())


def test_maps_and_levels_must_agree():
    "Three levels, two maps: an error that says so, not a picture that is quietly wrong."
    with pytest.raises(UserError, match="2 occlusion maps for 3 levels"):
        head(channels=(4, 8, 8))(*torch.rand(2, 1, 3, 16, 16))
