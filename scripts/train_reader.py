"""Train the face reader of page 31b and measure it on people it has never seen.

    python scripts/train_reader.py     # a quarter of an hour on one core

It writes mcnet/assets/face-reader.safetensors.

Draws 700 people, eight pictures each: the last four in other light and before another wall, so that neither tells who
somebody is. 40 of them are kept for the measurement, which goes into the registry.
"""

import argparse
import dataclasses
from pathlib import Path

import torch
import torch.nn.functional as F

from mcnet.animation.weights import REGISTRY, WeightSpec, add, measure
from mcnet.evaluation.benchmark import FaceReader, shape_features
from mcnet.evaluation.truth import ranking_scores
from mcnet.heads import faces
from mcnet.weightfile import load_weights, save_weights

PEOPLE, HELD_OUT, SEED = 700, 40, 777


def draw(people: int, seed: int) -> list[torch.Tensor]:
    "Pictures (people, 8, 3, 64, 64) uint8, landmarks, motions (people, 8, 4): radians, and how far the jaw is open."
    generator = torch.Generator().manual_seed(seed)
    cast = faces.sample_people(people, generator=generator)
    elsewhere = faces.sample_people(people, generator=generator)
    rows = []
    for i in range(people):
        poses = faces.sample_poses(8, generator=generator)
        moved = dataclasses.replace(cast[i], light=elsewhere[i].light, backdrop=elsewhere[i].backdrop)
        halves = [faces.combine(cast[i], poses[:4]), faces.combine(moved, poses[4:])]
        drawn = [faces.render(half, 64, truth=True) for half in halves]
        pictures = torch.cat([(d.image * 255).round().byte() for d in drawn])
        motion = torch.cat([poses.pose, poses.expression[:, :1]], dim=1)
        rows.append((pictures, torch.cat([d.landmarks for d in drawn]), motion))
    return [torch.stack(column) for column in zip(*rows)]


def spoil(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    "Some blur, some noise: the reader must not depend on how crisp a method's pictures are."
    coin = lambda: (torch.rand(len(image), 1, 1, 1, generator=generator) < 0.5).float()
    small = F.interpolate(image, scale_factor=0.5, mode="area")
    soft = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    mixed = torch.lerp(image, soft, coin() * torch.rand(len(image), 1, 1, 1, generator=generator))
    return (mixed + 0.02 * coin() * torch.randn(image.shape, generator=generator)).clamp(0, 1)


def fit(parameters, loss_of, steps: int, what: str):
    "AdamW, one cycle of the rate."
    optimiser = torch.optim.AdamW(parameters, 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in range(steps):
        loss = loss_of()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % 200 == 0:
            print(f"{what} {step + 1}: {loss.item():.4f}", flush=True)


def train_landmarks(reader: FaceReader, pictures: torch.Tensor, landmarks: torch.Tensor, steps: int):
    "Supervised: distance to the true landmarks that lie inside the picture."
    generator = torch.Generator().manual_seed(1)
    pictures, landmarks = pictures.flatten(0, 1), landmarks.flatten(0, 1)
    inside = landmarks.abs().amax(-1) <= 1

    def loss():
        chosen = torch.randint(len(pictures), (16,), generator=generator)
        found = reader.detector(spoil(pictures[chosen].float() / 255, generator)).value
        return ((found - landmarks[chosen]).abs().sum(-1) * inside[chosen]).mean()

    fit(reader.detector.parameters(), loss, steps, "landmarks")


def train_identity(reader: FaceReader, pictures: torch.Tensor, steps: int):
    "Contrastive: of 32 people, which is the one of the other light and wall?"
    generator = torch.Generator().manual_seed(2)

    def loss():
        people = torch.randperm(len(pictures), generator=generator)[:32]
        here, there = (torch.randint(low, low + 4, (32,), generator=generator) for low in (0, 4))
        both = torch.cat([pictures[people, here], pictures[people, there]]).float() / 255
        left, right = reader.identity(spoil(both, generator)).chunk(2)
        alike, wanted = left @ right.T / 0.1, torch.arange(32)
        return (F.cross_entropy(alike, wanted) + F.cross_entropy(alike.T, wanted)) / 2

    fit([*reader.trunk.parameters(), *reader.embed.parameters()], loss, steps, "identity")


@torch.no_grad()
def fit_motion(reader: FaceReader, pictures: torch.Tensor, motion: torch.Tensor):
    "Ridge regression from the landmarks the reader sees to pose and jaw, in closed form."
    seen = torch.cat([reader.detector(p.float() / 255).value for p in pictures.flatten(0, 1).split(64)])
    x, y = shape_features(seen).double(), motion.flatten(0, 1).double()
    ridge = 1e-3 * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    reader.motion.copy_(torch.linalg.solve(x.T @ x + ridge, x.T @ y))


@torch.no_grad()
def judge(reader: FaceReader, pictures: torch.Tensor, landmarks: torch.Tensor, motion: torch.Tensor) -> dict:
    "The reader's own error."
    count = len(pictures)
    seen = reader(pictures.flatten(0, 1).float() / 255)
    alike, who = seen.identity @ seen.identity.T, torch.arange(count).repeat_interleave(8)
    elsewhere = torch.arange(8).repeat(count) < 4
    same = alike[(who[:, None] == who) & (elsewhere[:, None] != elsewhere)]
    other = alike[who[:, None] != who]
    area = ranking_scores(torch.cat([same, other]), torch.arange(len(same) + len(other)) < len(same))[1]
    truth = motion.flatten(0, 1)
    return {
        "landmarks_px_of_64": (seen.landmarks - landmarks.flatten(0, 1)).norm(dim=-1).mean().item() * 31.5,
        "pose_degrees": (seen.pose - truth[:, :3].rad2deg()).abs().mean().item(),
        "jaw": (seen.jaw - truth[:, 3]).abs().mean().item(),
        "identity_auc": area,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs=2, default=(2400, 1000), help="of landmarks and identity")
    parser.add_argument("--cache", type=Path, help="a file to keep the drawn pictures in")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.cache and options.cache.exists():
        tensors = torch.load(options.cache, weights_only=True)
    else:
        tensors = draw(PEOPLE, SEED)
        if options.cache:
            torch.save(tensors, options.cache)
    learn, test = zip(*((t[:-HELD_OUT], t[-HELD_OUT:]) for t in tensors))
    reader = FaceReader()
    train_landmarks(reader, learn[0], learn[1], options.steps[0])
    train_identity(reader, learn[0], options.steps[1])
    reader.eval()
    fit_motion(reader, learn[0], learn[2])
    path = REGISTRY.parent / "face-reader.safetensors"
    save_weights(path, reader.state_dict(), reader.config, half=True, licence="Apache-2.0", data="drawn heads")
    reader.load_state_dict(load_weights(path)[0])  # what is measured is what ships
    scores = {name: round(value, 4) for name, value in judge(reader, *test).items()}
    print(scores)
    facts = reader.config.to_dict(), "Apache-2.0", "drawn heads, 660 people", scores
    add(WeightSpec("face-reader", path.name, *measure(path), *facts, kind="part"))


if __name__ == "__main__":
    main()
