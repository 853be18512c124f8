"""One run of a comparison of surrogates, in a process of its own: `python -m snn_codec.surrogate_study.worker FOLDER`.

FOLDER holds `cell.json`, what to train and on what. At the end there is a `result.json`: that it is done, or what was
wrong. The process ends as soon as its stdin does, so none is left behind when the one that started it is killed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import torch
from rich.console import Console

from snn_codec import corpus
from snn_codec import settings as config
from snn_codec.errors import TrainingFailed, UserError
from snn_codec.files import exclusive, replacing
from snn_codec.surrogate_study import level_curve
from snn_codec.training.loop import precision, train
from snn_codec.training.run_folder import Run


def main(folder: Path) -> int:
    """Train, or go on; 0 if the run is done, 2 if it failed, which is its result, 1 if it could not be tried."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cell = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
    # a worker of a study that was killed may take a moment to end
    with exclusive(folder / "worker.lock", wait=True):
        run = Run(
            data=[Path(path) for path in cell["data"]],
            folder=folder,
            resume=(folder / "config.json").is_file(),
            init_from=cell["init_from"],
            accelerator=cell["accelerator"],
            workers=0,
            threads=1,
            shared_crops=Path(cell["crops"]) if cell.get("crops") else None,
        )
        settings = config.from_dict(config.Config, cell["config"], str(folder / "cell.json"))
        result = {"status": "done", "reason": "", "trained_on": _machine(settings, cell["accelerator"])}
        try:
            train(settings, run, Console(stderr=True))
            if settings.model.levels:
                held_out = sum(corpus.training_paths(run.data)["validation"], [])
                level_curve.write(folder, level_curve.measure(folder, held_out, cell["entropy_model"]))
        except TrainingFailed as error:
            result |= {"status": "failed", "reason": " ".join(str(error).split())}
        except UserError as error:  # no result: it may be mended
            print(" ".join(str(error).split()), file=sys.stderr)
            return 1
        with replacing(folder / "result.json", force=True) as temporary:
            temporary.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return 0 if result["status"] == "done" else 2


def _machine(settings: config.Config, accelerator: str) -> str:
    """What numbers depend on, as in `NVIDIA H200, bf16-mixed`."""
    cuda = accelerator == "cuda" and torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else accelerator.upper()
    return f"{device}, {precision(settings.training.precision, accelerator)}"


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin, whose buffer Python locks when it ends
        pass
    os._exit(3)  # as sudden as a kill, which a run survives


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
