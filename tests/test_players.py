"Players and terms: an opponent, three optimisers, foreign samples, TPSM's loss, the authors' discriminator."

import pytest
import torch
from repository import DATA
from safetensors.torch import load_file
from test_checkpoints import PowerCut, cut_at
from test_tps import head
from test_training import QUICK, Shifted, equal, network, run
from torch import nn

from mcnet.baseline.tps import warp_loss
from mcnet.core import Keypoints, UserError
from mcnet.training.adversarial import KeypointDiscriminator, PatchDiscriminator
from mcnet.training.checkpoints import averaged_weights, read_checkpoint
from mcnet.training.loop import train_players
from mcnet.training.perceptual import FilterFeatures, PerceptualLoss
from mcnet.training.terms import Player, Term, adversarial_term, discriminator_player, generator_player

OFTEN = QUICK.replace(save_minutes=0.0, log_every=1)


def test_the_warp_loss_of_tpsm_is_a_term():
    "TPSM's own loss trains through the plug: it falls, and by more than without it."

    def settle(weight):
        model = head(dropout=0.0)

        def warped(prediction, pair, progress):
            return warp_loss(model.encode(pair.source), model.encode(pair.driving), prediction.motion)

        term = Term("warp", weight, warped)
        return run(model, [Shifted().batch(0)], QUICK.replace(steps=12, log_every=1, learning_rate=5e-3), terms=[term])

    rows = settle(10.0).rows
    assert rows[-1]["warp"] < 0.8 * rows[0]["warp"]
    assert "warp" not in settle(0.0).rows[0]


def opponents(seed=0, form="hinge"):
    "A talking head and who judges it, as two players; the weight adapts itself at the last convolution."
    model = network(seed=seed)
    judge = PatchDiscriminator(3, (4,), norm=False)
    last = [module for module in model.generator.modules() if isinstance(module, nn.Conv2d)][-1].weight
    plain = lambda prediction, pair, progress: (prediction.image - pair.driving).abs().mean()
    game = adversarial_term(judge, 1.0, form, start=3, against=plain, last=last)
    player = generator_player(model, PerceptualLoss(FilterFeatures()), QUICK.losses, [game])
    return [player, discriminator_player(judge, form, rate=0.5)]


def states(players):
    "All weights of all players."
    return {f"{p.name} {name}": tensor for p in players for name, tensor in p.module.state_dict().items()}


@pytest.mark.parametrize("parts", [1, 2])
def test_two_players_resume_to_the_last_bit(tmp_path, parts):
    "A game that is cut off and goes on from another start ends as one that nobody interrupted; also in parts."
    config = OFTEN.replace(steps=7, accumulate=parts)
    through, again = opponents(), opponents(seed=1)
    whole = train_players(through, Shifted(), config, device="cpu")
    with pytest.raises(PowerCut):
        train_players(opponents(), Shifted(), config, out=tmp_path, on_step=cut_at(5), device="cpu")
    history = train_players(again, Shifted(), config, out=tmp_path, device="cpu")
    assert equal(states(through), states(again)) and history.curve() == whole.curve()
    row = whole.rows[-1]
    assert {"adversarial", "discriminator loss", "discriminator real", "discriminator made"} <= set(row)
    assert whole.rows[0]["adversarial"] == 0 != row["adversarial"]  # heard from step 3 on
    assert list(read_checkpoint(tmp_path / "checkpoint.pt")["players"]) == ["generator", "discriminator"]
    opponents()[1].module.load_state_dict(averaged_weights(tmp_path / "checkpoint.pt", "discriminator"))
    with pytest.raises(UserError, match="is of generator, discriminator, this run of generator"):
        run(network(), config=config, out=tmp_path)


def test_while_one_steps_the_others_hold_still():
    "A generator's step leaves its opponent's gradients alone, and frozen parts stay frozen."
    players = opponents()
    frozen = players[1].module.layers[0].weight.requires_grad_(False)
    before = frozen.clone()
    train_players(players, Shifted(), OFTEN.replace(steps=4), device="cpu")
    assert torch.equal(frozen, before) and not frozen.requires_grad
    assert all(p.requires_grad for p in players[1].module.layers[2].parameters())


class Heard:
    "A sample that is no pair: two signals, with a way to a device."

    def __init__(self, first, second):
        self.first, self.second = first, second

    def to(self, device):
        return Heard(self.first.to(device), self.second.to(device))

    def __len__(self):
        return len(self.first)


class Signals:
    def batch(self, number):
        first = torch.randn(8, 4, generator=torch.Generator().manual_seed(number))
        return Heard(first, first.cumsum(1))


def three():
    "Three networks with three kinds of optimisers: the second reads the first, the third both."
    nets = [nn.Linear(size, 4) for size in (4, 4, 8)]
    fit = Term("fit", 1.0, lambda prediction, sample, progress: (prediction - sample.second).square().mean())
    sgd = lambda groups, rate: torch.optim.SGD(groups, rate, momentum=0.9)
    return [
        Player("one", nets[0], [fit], lambda sample, earlier: nets[0](sample.first)),
        Player("two", nets[1], [fit], lambda sample, earlier: nets[1](earlier["one"]), optimizer=sgd, rate=0.5),
        Player("three", nets[2], [fit], lambda sample, earlier: nets[2](torch.cat(list(earlier.values()), 1)),
               optimizer=lambda groups, rate: torch.optim.AdamW(groups, rate)),
    ]  # fmt: skip


def test_three_players_with_their_own_optimisers(tmp_path):
    "Each learns, none gets a gradient of another's, and the run resumes to the last bit."
    config = OFTEN.replace(steps=120, learning_rate=2e-2, log_every=20)
    torch.manual_seed(0)
    through = three()
    rows = train_players(through, Signals(), config, device="cpu").rows
    for name in ("loss", "two loss", "three loss"):
        assert rows[-1][name] < 0.8 * rows[0][name], name
    torch.manual_seed(0)
    with pytest.raises(PowerCut):
        train_players(three(), Signals(), config, out=tmp_path, on_step=cut_at(30), device="cpu")
    again = three()
    train_players(again, Signals(), config, out=tmp_path, device="cpu")
    assert equal(states(through), states(again))


def test_players_need_names_of_their_own():
    "Two of one name could not be told apart in a checkpoint; a player without terms has nothing to do."
    with pytest.raises(UserError, match="each with a name of its own"):
        train_players(three()[:1] * 2, Signals(), OFTEN, device="cpu")
    idle = Player("idle", nn.Linear(4, 4), [], lambda sample, earlier: sample.first)
    with pytest.raises(UserError, match="idle has nothing to make smaller"):
        train_players([idle], Signals(), OFTEN, device="cpu")


def test_a_loss_that_cannot_be_computed_is_said_first():
    "Terms that all stay silent leave nothing to step by; a perceptual loss that weighs something must be there."
    silent = Term("silent", 1.0, lambda prediction, sample, progress: None)
    mute = Player("mute", nn.Linear(4, 4), [silent], lambda sample, earlier: sample.first)
    with pytest.raises(UserError, match="no loss says anything about this sample"):
        train_players([mute], Signals(), OFTEN, device="cpu")
    for weights in (QUICK.losses, QUICK.losses.replace(perceptual=0.0, close_up=1.0)):
        with pytest.raises(UserError, match="perceptual or close_up has a weight, but perceptual is None"):
            generator_player(network(), None, weights)
    assert generator_player(network(), None, QUICK.losses.replace(perceptual=0.0)).terms


def test_the_discriminator_of_the_authors():
    "Their reduced discriminator on a driving frame with its keypoints: every feature and the answer."
    folder = DATA.parent / "reference" / "release_parity"
    if not (folder / "losses.safetensors").is_file():
        pytest.skip("no reference tensors: neither ../shared/reference nor reference/ beside MCNET_DATA has them")
    stored, inputs, made = (load_file(folder / f"{name}.safetensors") for name in ("losses", "inputs", "tensors"))
    ours = KeypointDiscriminator(15, (16, 32, 64, 64))
    before = "disc.weights.discs.1."
    theirs = {key.removeprefix(before): tensor for key, tensor in stored.items() if key.startswith(before)}
    rename = lambda key: key.replace("down_", "") if key.startswith("down_") else key.replace("conv", "last")
    ours.load_state_dict({rename(key): tensor for key, tensor in theirs.items()})
    with torch.no_grad():
        points = Keypoints(made["kp_driving1.value"])
        features, answer = ours.features(inputs["driving1"], points), ours(inputs["driving1"], points)
    for number, feature in enumerate(features):
        torch.testing.assert_close(feature, stored[f"disc.feature.{number}"], atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(answer, stored["disc.prediction_map"], atol=2e-5, rtol=2e-5)
