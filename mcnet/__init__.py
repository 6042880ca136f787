"""Memory-compensated talking-head networks: learn them, use them, extend them.

The names below, the wings (`mcnet.memory`, `mcnet.training` …) and the modules beside this file are imported when they
are first used, so that `import mcnet` costs next to nothing.
This file and `__main__` are written by hand; the others are exported from the notebooks.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .animation.animate import Animator, Settings
    from .animation.weights import load_network
    from .core import Keypoints, Motion, Prediction, UserError
    from .evaluation.evaluate import evaluate
    from .memory.network import MCNet, MCNetConfig
    from .training.loop import train
    from .training.recipes import TrainConfig

__version__ = "0.1.0"
__all__ = [
    "Animator",
    "Keypoints",
    "MCNet",
    "MCNetConfig",
    "Motion",
    "Prediction",
    "Settings",
    "TrainConfig",
    "UserError",
    "evaluate",
    "load_network",
    "train",
]
_HOME = {
    "Animator": "animation.animate",
    "Keypoints": "core",
    "MCNet": "memory.network",
    "MCNetConfig": "memory.network",
    "Motion": "core",
    "Prediction": "core",
    "Settings": "animation.animate",
    "TrainConfig": "training.recipes",
    "UserError": "core",
    "evaluate": "evaluation.evaluate",
    "load_network": "animation.weights",
    "train": "training.loop",
}

# PyTorch's threads spin while they wait for each other. Beside other work that takes several times the processor time,
# so here they sleep, unless the user decided otherwise; the setting is read when PyTorch is loaded.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __getattr__(name: str) -> Any:
    "A public name from the module in which it lives; or a wing, or a module of the hall."
    if name in _HOME:
        return getattr(import_module(f"mcnet.{_HOME[name]}"), name)
    if not name.startswith("_"):
        try:
            return import_module(f"mcnet.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"mcnet.{name}":  # a module of ours lacks one of somebody else's
                raise
    raise AttributeError(f"module 'mcnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    "What tab completion offers."
    from pkgutil import iter_modules

    wings = [module.name for module in iter_modules(__path__) if not module.name.startswith("_")]
    return sorted({"__version__", *__all__, *wings})
