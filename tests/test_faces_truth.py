"""The truth of the synthetic heads is true: flow against landmarks, and flow against pictures."""

import pytest
import torch
import torch.nn.functional as F

from mcnet.core import Notice, UserError
from mcnet.data.footage import draw_people
from mcnet.heads.bust import SKIN
from mcnet.heads.cast import combine, sample_people, sample_poses
from mcnet.heads.faces import FacePairs, bust_for, render, true_deformation

SIZE, PEOPLE, BATCHES = 64, 20, 5  # 100 pairs
LARGE = 128  # landmarks lie near edges: they need a finer grid of pixels
SLITS = [*range(36, 49), 54, *range(60, 68)]  # landmarks on the edges of lids and lips, where two surfaces meet
EDGE = 2  # pixels around an edge that are not compared


def rendered_pairs(batch: int, lit: bool, size: int = SIZE, people: int = PEOPLE):
    "Two moments each of some people, and the flow from the first (source) to the second (driving)."
    count = people
    generator = torch.Generator().manual_seed(batch)
    people = sample_people(count, generator=generator)
    moments = [sample_poses(count, generator=generator) for _ in range(2)]
    source, driving = (render(combine(people, moment), size, truth=True, lit=lit) for moment in moments)
    return source, driving, *true_deformation(source, driving)


def sample(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    "Bilinear look-up: (B, C, S, S) at (B, N, 2) gives (B, N, C)."
    return F.grid_sample(values, places[:, :, None], align_corners=True)[..., 0].transpose(1, 2)


def spread(values: torch.Tensor) -> torch.Tensor:
    "Largest difference to a direct neighbour, (B, C, S, S) -> (B, 1, S, S)."
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    middle = padded[..., 1:-1, 1:-1]
    sides = [padded[..., 1:-1, 2:], padded[..., 1:-1, :-2], padded[..., 2:, 1:-1], padded[..., :-2, 1:-1]]
    return torch.stack([(side - middle).abs().amax(1, keepdim=True) for side in sides]).amax(0)


def grow(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    return F.max_pool2d(mask.float(), 2 * pixels + 1, 1, pixels)


def on_one_surface(view, flow: torch.Tensor) -> torch.Tensor:  # (B, 68) bool
    "Landmarks whose surrounding pixels see the surface that the landmark lies on, without a tear in the flow."
    size = view.depth.shape[-1]
    _, vertices, weights = bust_for(size, "cpu")
    depth = (view.screen[:, vertices, 2] * weights).sum(-1)
    on_top = (depth - sample(view.depth[:, None], view.landmarks)[..., 0]).abs() < 0.02
    torn = (spread(flow) * (size - 1) / 2 > 1.5) | (spread(view.parts[:, None].float()) > 0)
    return on_top & (sample(grow(torn, 1), view.landmarks)[..., 0] == 0)


def test_flow_at_landmarks():
    "Where a landmark lies on one surface, the dense flow there points to it in the other picture: within 0.25 px."
    errors, on_slits = [], []
    for batch in range(4):
        source, driving, deformation, _ = rendered_pairs(batch, lit=False, size=LARGE, people=8)
        flow = deformation.permute(0, 3, 1, 2)
        error = (sample(flow, driving.landmarks) - source.landmarks).norm(dim=-1) * (LARGE - 1) / 2
        compared = driving.visible & source.visible & on_one_surface(driving, flow)
        on_slits.append(error[:, SLITS][compared[:, SLITS]])
        compared[:, SLITS] = False
        errors.append(error[compared])
    errors, on_slits = torch.cat(errors), torch.cat(on_slits)
    print(f"{len(errors)} landmarks compared; largest error {errors.max():.3f} px, mean {errors.mean():.4f} px")
    print(f"{len(on_slits)} on the edges of lids and lips; largest error {on_slits.max():.3f} px")
    assert len(errors) > 300
    assert errors.max() < 0.25
    assert on_slits.max() < 1


def edges(view) -> torch.Tensor:  # (B, 1, S, S) bool
    return (spread(view.parts[:, None].float()) > 0) | (spread(view.depth[:, None]) > 0.12)


def test_flow_warps_unlit_pictures():
    "On the unlit chart, source warped by the true flow is the driving picture: within 3/255 on visible skin off edges."
    largest, compared = 0.0, 0
    for batch in range(BATCHES):
        source, driving, deformation, visible = rendered_pairs(batch, lit=False)
        warped = F.grid_sample(source.image, deformation, align_corners=True)
        error = (warped - driving.image).abs().amax(1, keepdim=True)
        here = grow(edges(driving) | (visible == 0), EDGE)
        there = F.grid_sample(grow(edges(source), EDGE), deformation, align_corners=True)
        skin = (driving.parts == SKIN)[:, None] & (here == 0) & (there == 0)
        largest, compared = max(largest, float(error[skin].max())), compared + int(skin.sum())
    print(f"{compared} pixels compared; largest difference {largest * 255:.2f}/255")
    assert compared > 15_000
    assert largest < 3 / 255


def test_cache_of_drawn_people(tmp_path):
    "Kept and read again; a damaged one is drawn anew and said; what is none of ours stays as it is."
    cache = tmp_path / "drawn.pt"
    draw = lambda **settings: FacePairs(2, 4, 16, 2, cache=cache, **settings)
    first = draw().images
    whole = cache.read_bytes()
    assert torch.equal(draw().images, first)
    for content in (b"", whole[: len(whole) // 2], whole[:100] + bytes(len(whole) - 100), bytes(2000)):
        cache.write_bytes(content)
        with pytest.warns(Notice, match="drawn.pt is damaged; its people are drawn anew"):
            assert torch.equal(draw().images, first)
    with pytest.raises(UserError, match="drawn with other settings"):
        draw(seed=1)
    torch.save([1], cache)
    with pytest.raises(UserError, match="holds no drawn people"):
        draw()
    cache.write_text("my notes")
    with pytest.raises(UserError, match="is a text, not a cache of drawn people"):
        draw()
    assert cache.read_text() == "my notes"
    with pytest.raises(UserError, match="a folder"):
        FacePairs(2, 4, 16, 2, cache=tmp_path)
    (tmp_path / "file").touch()  # nothing can be kept below it: minutes of drawing are not thrown away for that
    with pytest.warns(Notice, match="what was drawn is not kept for the next time: cannot write .*does not exist"):
        pairs = draw_people(2, 16, 2, 0, cache=tmp_path / "file" / "heads", truth=False)
    assert pairs.images.shape == (2, 16, 3, 16, 16)
