"A motion that is refined level by level: what a step says reaches compensators, picture and gradients."

import pytest
import torch
from torch import nn

from mcnet.baseline.compensator import KeepMotion, NoCompensation, compensate, motion_at, refine_motion, warp_feature
from mcnet.baseline.generator import Generator, GeneratorConfig
from mcnet.baseline.grid import identity_grid
from mcnet.baseline.talking_head import TalkingHead
from mcnet.core import Context, Keypoints, Motion, UserError

SIZES = GeneratorConfig(channels=(4, 8, 8), residual_blocks=(0, 0, 0), kernel=3, fuse=True)


class Push(nn.Module):
    "A learned step of one number a level: how much further right to look."

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.tensor([0.1, 0.2, 0.3]))

    def forward(self, level, motion, feature, context):
        step = torch.stack([self.by[level], self.by.new_zeros(())])
        motion = refine_motion(motion, level, motion.deformation + step)
        return motion, warp_feature(feature, motion_at(motion, level))


class Still(nn.Module):
    "A motion estimator that sees nothing move."

    def forward(self, source_image, source_keypoints, driving_keypoints, *, details=False):
        return still(len(source_image))


def still(batch=2, side=8):
    return Motion(identity_grid(side, side).expand(batch, -1, -1, -1), torch.ones(batch, 1, side, side))


def head(step=None):
    torch.manual_seed(0)
    return TalkingHead(nn.Identity(), Still(), Generator(SIZES, step=step)).eval()


def animate(model):
    points = Keypoints(torch.zeros(2, 1, 2))
    return model.animate(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)), points, points)


def test_the_step_that_changes_nothing_is_the_default():
    "Bit for bit, and without a name in a weights file."
    plain, kept = head(), head(KeepMotion())
    assert torch.equal(animate(plain).image, animate(kept).image)
    assert animate(plain).motion.deformations is None and list(plain.state_dict()) == list(kept.state_dict())


def test_every_level_has_its_own_flow():
    "0.1, then 0.3, then 0.6 further right; the last one makes the warped picture."
    prediction = animate(head(Push()))
    offsets = [(flow - identity_grid(8, 8))[..., 0].mean().item() for flow in prediction.motion.deformations]
    assert offsets == pytest.approx([0.1, 0.3, 0.6], abs=1e-5)
    source = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    shifted = still()._replace(deformation=still().deformation + torch.tensor([0.6, 0.0]))
    torch.testing.assert_close(prediction.warped, warp_feature(source, shifted), atol=1e-5, rtol=0)


def test_every_level_teaches_the_step():
    "The picture's loss reaches the step at each level."
    model = head(Push())
    animate(model).image.square().sum().backward()
    assert (model.generator.step.by.grad.abs() > 0).all()


def test_occlusion_may_be_refined_alone_with_the_flow():
    "A new map at one level leaves the others as they were."
    motion = still()._replace(occlusions=tuple(torch.full((2, 1, 8, 8), share) for share in (0.1, 0.2, 0.3)))
    better = refine_motion(motion, 1, motion.deformation, torch.full((2, 1, 8, 8), 0.9))
    assert [m.mean().item() for m in better.occlusions] == pytest.approx([0.1, 0.9, 0.3])


def test_a_wrong_number_of_flows_is_refused():
    "An error that says so, not a picture that is quietly wrong."
    flows = (still().deformation,) * 2
    features = [torch.rand(2, 4, side, side) for side in (4, 8, 16)]
    context = Context(Keypoints(torch.zeros(2, 1, 2)), still()._replace(deformations=flows))
    with pytest.raises(UserError, match="2 flows for 3 levels; make one per level"):
        compensate(features, context, NoCompensation())
