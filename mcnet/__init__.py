"""Memory-compensated talking-head networks: learn them, use them, extend them.

The names below are imported when they are first used, so that `import mcnet` costs next to nothing.
This is the one file of the package that is written by hand; the others are exported from the notebooks.
"""

__version__ = "0.1.0"

_HOME = {
    "Animator": "animation.animate",
    "MCNet": "memory.network",
    "MCNetConfig": "memory.network",
    "Settings": "animation.animate",
    "UserError": "core",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    "Import the module in which `name` lives, and take it from there."
    if name not in _HOME:
        raise AttributeError(f"module 'mcnet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"mcnet.{_HOME[name]}"), name)


def __dir__():
    "What tab completion offers."
    return sorted([*globals(), *__all__])
