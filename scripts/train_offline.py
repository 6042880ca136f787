"""Train on a machine without a network: what it needs travels along, what it made comes back.

    python scripts/train_offline.py small --out OUT --sitting 9 --minutes 25 --batch-size 64 --clips frames.tar …

Everything but `--out`, `--run`, `--wheels` and `--sitting` goes to scripts/train_weights.py. A sitting that is over, or
that somebody ends with SIGTERM, leaves a checkpoint in the folder of `--run`; the same command goes on from it. After
each sitting OUT holds NAME.safetensors (fp16, averaged weights, ready for `mcnet animate`), progress.json and log.txt.
No virtual environment is made: wheels are unpacked into a folder that only this process sees. data/runs.md has more.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = {"av": "", "av/video": "", "av/video/reformatter": "VideoReformatter = None\n"}  # package -> what is in it


def prepare(site: Path, wheels: Path | None) -> dict[str, str]:
    "Unpack wheels; the environment in which `python` finds them, and mcnet. PyAV's 36 MB may stay at home: no videos."
    site.mkdir(parents=True, exist_ok=True)
    if wheels:
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--upgrade"]
        subprocess.run([*install, "--target", site, *sorted(wheels.glob("*.whl"))], check=True)
    sys.path[:0] = [str(site), str(ROOT)]
    if importlib.util.find_spec("av") is None:
        for package, content in STAND_IN.items():
            (site / package).mkdir(parents=True, exist_ok=True)
            (site / package / "__init__.py").write_text(content)
    paths = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return os.environ | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}


def sit(command: list, minutes: float, log: Path, environment: dict[str, str]) -> int:
    "Run a command for so long at most, then ask it to stop; what it says goes to the log, too."
    with log.open("a") as file:
        limit = ["timeout", "--signal=TERM", "--kill-after=120", f"{round(60 * minutes)}"]
        process = subprocess.Popen([*limit, *command], env=environment, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)  # fmt: skip
        for line in process.stdout:
            print(line, end="", flush=True)
            file.write(line)
        return process.wait()


def hand_over(name: str, run: Path, out: Path):
    "The averaged weights of the newest checkpoint as fp16, and how far the run is."
    from mcnet.memory.files import save_model
    from mcnet.memory.network import MCNet, MCNetConfig
    from mcnet.training.checkpoints import read_checkpoint

    values = read_checkpoint(run / "checkpoint.pt")
    done = (run / "weights.safetensors").is_file()
    whole = any(key.startswith("generator.") for key in values["average"])  # not so with `--part motion`
    if done:
        shutil.copyfile(run / "weights.safetensors", out / f"{name}.safetensors")
    elif whole:
        model = MCNet(MCNetConfig.small() if name == "small" else MCNetConfig.tiny())
        model.load_state_dict(values["average"])
        notes = {"licence": "unfinished: for looking at only", "data": "unfinished", "name": name}
        save_model(out / f"{name}.safetensors", model, step=values["step"], **notes)
    last = values["history"]["rows"][-1] if values["history"]["rows"] else {}
    progress = {"step": values["step"], "seconds": values["seconds"], "finished": done, "last": last}
    (out / "progress.json").write_text(json.dumps(progress, indent=1))
    made = f"{out / name}.safetensors" if done or whole else "no weights yet"
    print(f"{made}: step {values['step']}, {'finished' if done else 'to be continued'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("tiny-synthetic", "tiny", "small"))
    parser.add_argument("--out", type=Path, required=True, help="what comes back")
    parser.add_argument("--run", type=Path, help="checkpoints; runs/NAME when not given")
    parser.add_argument("--wheels", type=Path, help="folder of .whl files that this machine lacks")
    parser.add_argument("--sitting", type=float, default=9.0, help="minutes after which to stop, to go on another time")
    options, more = parser.parse_known_args()
    run = options.run or ROOT / "runs" / options.name
    for folder in (options.out, run):
        folder.mkdir(parents=True, exist_ok=True)
    environment = prepare(ROOT / "runs" / "site", options.wheels)
    command = [sys.executable, ROOT / "scripts" / "train_weights.py", options.name, "--out", run, *more]
    code = sit(command, options.sitting, options.out / "log.txt", environment)
    if (run / "checkpoint.pt").is_file():
        hand_over(options.name, run, options.out)
    elif code:
        sys.exit(code)


if __name__ == "__main__":
    main()
