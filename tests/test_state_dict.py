"Names and shapes inside weights files are a promise: files written today must load tomorrow, and say what they are."

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mcnet.animation.weights import known_weights, resolve
from mcnet.baseline.compensator import Compensator
from mcnet.baseline.generator import GeneratorConfig
from mcnet.baseline.keypoints import KeypointConfig
from mcnet.baseline.motion import MotionConfig
from mcnet.baseline.tps import TPSConfig, TPSMotion
from mcnet.codebooks.system import CodebooksConfig
from mcnet.core import Compensated, UserError
from mcnet.memory.bank import MemoryConfig
from mcnet.memory.dynconv import DynamicConfig
from mcnet.memory.files import build, find_kind, load_model, save_model
from mcnet.memory.network import MCNet, MCNetConfig, with_compensator
from mcnet.memory.release import ReleasedMCNet
from mcnet.memory.scale import ScaleConfig
from mcnet.weightfile import load_weights

GOLDEN = Path(__file__).parent / "golden"
CONFIGS = {"small": MCNetConfig.small(), "tiny": MCNetConfig.tiny(), "codebooks-tiny": CodebooksConfig.tiny()}
SHIPPED = sorted(name for name, spec in known_weights().items() if spec.ships and spec.kind == "network")


def shapes(tensors):
    "Name -> shape, as json keeps it."
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def promised(name):
    "What the golden file of a size promises."
    return json.loads((GOLDEN / f"{name}_state_dict.json").read_text())


@pytest.mark.parametrize("name", CONFIGS)
def test_names_are_frozen(name):
    "A renamed, added or reshaped tensor breaks every file out there: write a migration, then a new golden file."
    assert shapes(build(CONFIGS[name]).state_dict()) == promised(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_the_full_network(name):
    "What ships is the size of its name, with its memory, and holds what the golden file promises."
    tensors, config, notes = load_weights(resolve(name))
    size = name.removesuffix("-synthetic")
    assert find_kind(notes.get("kind", "mcnet")).config.from_dict(config) == CONFIGS[size]
    assert shapes(tensors) == promised(size)


# ---- a file says what it holds


def tiny_file(path, *, config=None, notes=None, text=None):
    "A weights file of the smallest network whose config, notes or config text are what the test wants."
    network = MCNet(SMALLEST)
    values = {**SMALLEST.to_dict(), **(config or {})}
    metadata = {"config": json.dumps(values) if text is None else text, **(notes or {})}
    save_file(network.state_dict(), path, metadata)
    return path


SIZES = {"num_keypoints": 3, "width": 4, "cap": 8, "blocks": 2, "scale": 0.5}
SMALLEST = MCNetConfig(
    32,
    KeypointConfig(**SIZES),
    MotionConfig(**SIZES),
    GeneratorConfig((4, 8, 12), (1, 0, 0), kernel=3),
    MemoryConfig(8, 4, 4, levels=2),
    ScaleConfig(4),
    DynamicConfig(2),
)


def test_a_file_without_a_kind_loads_as_ever(tmp_path):
    "Files from before kinds and classes were named: what a config's fields say decides, as it did."
    old = {"motion": {k: v for k, v in SMALLEST.to_dict()["motion"].items() if k != "class"}}
    model = load_model(tiny_file(tmp_path / "old.safetensors", config=old))
    assert type(model) is MCNet and model.config == SMALLEST and model.notes == {}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_load_to_the_bit(name):
    "Not one number of a shipped file changes on its way into the network."
    tensors, model = load_weights(resolve(name))[0], load_model(resolve(name))
    assert all(torch.equal(t, tensors[key]) for key, t in model.state_dict().items())


def test_union_types_carry_the_class(tmp_path):
    "A motion network with splines comes back as one, and says so in its file."
    points = SMALLEST.keypoints.replace(num_keypoints=10, jacobian=False)
    motion = TPSConfig(num_sets=2, width=4, cap=8, blocks=2, scale=0.5, levels=3)
    config = SMALLEST.replace(keypoints=points, motion=motion)
    save_model(tmp_path / "spline.safetensors", MCNet(config))
    assert config.to_dict()["motion"]["class"] == "TPSConfig"
    assert isinstance(load_model(tmp_path / "spline.safetensors").motion, TPSMotion)


def test_every_assembly_by_its_name_alone(tmp_path):
    "The kind in the file builds the released network, too; options reach it."
    config = SMALLEST.replace(assembly="release", scale=ScaleConfig(4, code=8))
    save_model(tmp_path / "released.safetensors", build(config, noise=True))
    assert type(load_model(tmp_path / "released.safetensors")) is ReleasedMCNet
    assert build(config, noise=True).generator.compensator.noise is True


FAULTS = {
    "assembly is 'release', which has a": {"assembly": "release", **dict.fromkeys(("memory", "scale", "dynamic"))},
    "only the deepest level counts": {
        "generator": {"channels": [4, 8, 12], "residual_blocks": [1, 0, 0], "skips": False},
    },
    "scale.code is 0": {"assembly": "release"},
    "scale.code does nothing": {"scale": {"hidden": 4, "code": 8}},
    "memory.levels is 4, the generator has 3": {"memory": {"channels": 8, "height": 4, "width": 4, "levels": 4}},
    "image_size is 1073741824; give a whole number": {"image_size": 2**30},
    "keypoints.blocks is 1000000000": {"keypoints": {**SIZES, "blocks": 10**9}},
    "generator.residual_blocks is -1": {"generator": {"channels": [4, 8, 12], "residual_blocks": [1, -1, 0]}},
    "memory.height is 10000": {"memory": {"channels": 8, "height": 10000, "width": 10000, "levels": 2}},
    "compensator.memory.meta.bank .1, 8, 4, 4. instead of .1, 8, 8000, 8000.": {
        "memory": {"channels": 8, "height": 8000, "width": 8000, "levels": 2}
    },
    "motion is a DreamConfig; this version knows MotionConfig, TPSConfig": {"motion": {"class": "DreamConfig"}},
    "MCNetConfig has no setting colour": {"colour": "blue"},
    "describes no network": {"image_size": None},
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_faulty_configs_are_one_sentence(sentence, tmp_path):
    "What a file asks for is refused before anything of that size is made."
    path = tiny_file(tmp_path / "odd.safetensors", config=FAULTS[sentence])
    resource = pytest.importorskip("resource", reason="this system does not say how much memory was used")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=sentence) as caught:
        load_model(path)
    assert "\n" not in str(caught.value) and "odd.safetensors" in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # kilobytes: a quarter of a gigabyte


@pytest.mark.parametrize("text", ["{", "[]", '"tiny"', "null", '{"memory": 3}', '{"image_size": "64"}'])
def test_broken_config_text(text, tmp_path):
    with pytest.raises(UserError, match="odd.safetensors") as caught:
        load_model(tiny_file(tmp_path / "odd.safetensors", text=text))
    assert "\n" not in str(caught.value)


def test_unknown_kind(tmp_path):
    path = tiny_file(tmp_path / "later.safetensors", notes={"kind": "holograms"})
    with pytest.raises(UserError, match="'holograms' is no kind of network known here; known are mcnet, release"):
        load_model(path)


class Faint(Compensator):
    "Somebody's own compensator."

    def forward(self, feature, context):
        return Compensated(0.5 * feature)


def test_a_file_with_a_part_of_its_own(tmp_path):
    "It has no tensors of its own, so that nothing but the note can tell; loading it as a baseline would be wrong."
    plain, path = SMALLEST.without_memory(), tmp_path / "own.safetensors"
    network = MCNet(plain, Faint()).eval()
    save_model(path, network, licence="Apache-2.0")
    with pytest.raises(UserError, match=r"trained with Faint .* load_model\('own.safetensors', build=.*Faint\(…\)"):
        load_model(path)
    again = load_model(path, build=lambda config: MCNet(config, Faint()))
    pictures = torch.rand(2, 1, 3, 32, 32)
    assert (again(*pictures).image - network(*pictures).image).abs().max() < 1e-2
    assert again.notes == {"licence": "Apache-2.0"}
    save_model(path, again)  # and it is still known when it is saved again
    with pytest.raises(UserError, match="trained with Faint"):
        load_model(path)


@pytest.mark.parametrize("config", [SMALLEST, SMALLEST.replace(assembly="release", scale=ScaleConfig(4, code=8))])
def test_controls_leave_the_network_alone(config):
    "Each control changes the picture's inside as it must, in both assemblies, and nothing of the original."
    model, pictures = build(config).eval(), torch.rand(2, 2, 3, 32, 32)
    unit, before = model.generator.compensator, model(*pictures, details=True)
    for control in ("silenced", "shuffled", "same_answer"):
        made = with_compensator(model, getattr(unit, control)())(*pictures, details=True).compensated[0].details
        if control == "silenced":
            assert (made["answer"] == 0).all()
        if control == "same_answer":
            mean = before.compensated[0].details["value"].mean((2, 3), keepdim=True)
            torch.testing.assert_close(made["answer"], mean.expand_as(made["answer"]), rtol=1e-4, atol=1e-6)
    doubled = unit.edited({"bank": lambda bank: 2 * bank})
    assert torch.equal(doubled.bank(), 2 * unit.bank())
    assert torch.equal(model(*pictures).image, before.image)
