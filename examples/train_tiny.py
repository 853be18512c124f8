"""Train a tiny model for a few steps on one recording: how settings, data and a run fit together.

    python examples/train_tiny.py [FOLDER TO WRITE TO]

Twenty steps take seconds and give noise; `snn-codec train cpu-free --data DATA --run RUN` trains a model to use.
"""

import sys
from pathlib import Path

from snn_codec import Codec, read_audio
from snn_codec import settings as config
from snn_codec.metrics import si_snr
from snn_codec.training.loop import train
from snn_codec.training.run_folder import Run

recording = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")

# A preset and what is different: `--set` of the command line, in code.
settings = config.load(
    "cpu-free",
    [
        "model.units=32", "model.encoder.width=32", "model.decoder.width=32", "model.encoder.blocks=1",
        "model.decoder.blocks=1", "training.steps=20", "training.batch=2", "training.seconds=1",
        "training.warmup=5", "training.validate_every=10", "training.validation_clips=1",
        "training.optimizer=adamw",
    ],
)  # fmt: skip
best = train(settings, Run([recording.parent], folder / "tiny", accelerator="cpu", threads=1, force=True))

codec = Codec.load(best)
sound, rate = read_audio(recording, stop=2 * 22050)
events = codec.encode(sound, rate)
print(f"{best}: {events}")
print(f"SI-SNR {si_snr(codec.decode(events), sound):.2f} dB after {settings.training.steps} steps")
