"""The truth of the synthetic heads is true: flow against landmarks, and flow against pictures."""

import pytest
import torch
import torch.nn.functional as F

from mcnet.bust import SKIN
from mcnet.faces import bust_for, combine, render, sample_people, sample_poses, true_deformation

SIZE, PEOPLE, BATCHES = 64, 20, 5  # 100 pairs
EDGE = 2  # pixels around an edge that are not compared


def rendered_pairs(batch: int, lit: bool):
    "Two moments each of PEOPLE people, and the flow from the first (source) to the second (driving)."
    generator = torch.Generator().manual_seed(batch)
    people = sample_people(PEOPLE, generator=generator)
    moments = [sample_poses(PEOPLE, generator=generator) for _ in range(2)]
    source, driving = (render(combine(people, moment), SIZE, truth=True, lit=lit) for moment in moments)
    return source, driving, *true_deformation(source, driving)


@pytest.fixture(scope="module")
def pairs():
    return [rendered_pairs(batch, lit=False) for batch in range(BATCHES)]


def sample(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    "Bilinear look-up: (B, C, S, S) at (B, N, 2) gives (B, N, C)."
    return F.grid_sample(values, places[:, :, None], align_corners=True)[..., 0].transpose(1, 2)


def spread(values: torch.Tensor) -> torch.Tensor:
    "Largest difference to a direct neighbour, (B, C, S, S) -> (B, 1, S, S)."
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    middle = padded[..., 1:-1, 1:-1]
    sides = [padded[..., 1:-1, 2:], padded[..., 1:-1, :-2], padded[..., 2:, 1:-1], padded[..., :-2, 1:-1]]
    return torch.stack([(side - middle).abs().amax(1, keepdim=True) for side in sides]).amax(0)


def bend(values: torch.Tensor) -> torch.Tensor:
    "Largest second difference along rows, columns or diagonals, (B, C, S, S) -> (B, 1, S, S)."
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    at = lambda row, column: padded[..., 1 + row : SIZE + 1 + row, 1 + column : SIZE + 1 + column]
    ways = [(0, 1), (1, 0), (1, 1), (1, -1)]
    bends = [(at(r, c) - 2 * values + at(-r, -c)).abs().amax(1, keepdim=True) for r, c in ways]
    inside = F.pad(torch.ones_like(values[:, :1, 1:-1, 1:-1]), (1, 1, 1, 1))
    return torch.stack(bends).amax(0) * inside + (1 - inside)


def grow(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    return F.max_pool2d(mask.float(), 2 * pixels + 1, 1, pixels)


def pixels_per_unit() -> float:
    return (SIZE - 1) / 2


def landmark_depth(view) -> torch.Tensor:  # (B, 68)
    _, vertices, weights = bust_for(SIZE, "cpu")
    return (view.screen[:, vertices, 2] * weights).sum(-1)


def test_flow_at_landmarks(pairs):
    "Where the pixel grid resolves the flow around a landmark, it points to that landmark in the other picture: within 0.25 px."
    errors, asked = [], 0
    for source, driving, deformation, _ in pairs:
        flow = deformation.permute(0, 3, 1, 2)
        error = (sample(flow, driving.landmarks) - source.landmarks).norm(dim=-1) * pixels_per_unit()
        rough = bend(flow) * pixels_per_unit() > 0.7
        resolved = sample(grow(rough, 1), driving.landmarks)[..., 0] == 0
        seen = sample(driving.depth[:, None], driving.landmarks)[..., 0]
        on_top = (landmark_depth(driving) - seen).abs() < 0.03
        both = driving.visible & source.visible
        errors.append(error[both & resolved & on_top])
        asked += int(both.sum())
    errors = torch.cat(errors)
    print(f"{len(errors)} of {asked} landmarks are resolved; largest error {errors.max():.3f} px, mean {errors.mean():.4f}")
    assert len(errors) > asked / 3
    assert errors.max() < 0.25


def test_flow_warps_unlit_pictures(pairs):
    "On the unlit chart, source warped by the true flow is the driving picture: within 3/255 on visible skin off edges."
    largest, compared = 0.0, 0
    for source, driving, deformation, visible in pairs:
        look = lambda values: F.grid_sample(values, deformation, align_corners=True)
        error = (look(source.image) - driving.image).abs().amax(1, keepdim=True)
        edge = lambda view: (spread(view.parts[:, None].float()) > 0) | (spread(view.depth[:, None]) > 0.12)
        here = grow(edge(driving) | (visible == 0), EDGE)
        there = look(grow(edge(source), EDGE))
        skin = (driving.parts == SKIN)[:, None] & (here == 0) & (there == 0)
        largest, compared = max(largest, float(error[skin].max())), compared + int(skin.sum())
    print(f"{compared} pixels compared; largest difference {largest * 255:.2f}/255")
    assert compared > 15_000
    assert largest < 3 / 255
