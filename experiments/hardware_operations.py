"""What spiking layers compute in a second of audio, beside the multiply-accumulates of the networks, as a table.

python experiments/hardware_operations.py

Of every shipped model: events; multiply-accumulates (MACs) of graded inputs that are not 0, in the bottleneck and, if
the encoder is a matrix, in its integers; synaptic operations, one for each event and weight behind it that is not 0,
between groups and in the decoder's first layer. Beside them the MACs of the dense networks in torch: encoder and
bottleneck, decoder. These are of matrix products and convolutions as `torch.utils.flop_counter` counts them; what is
done by an FFT is not in them. A PyTorch whose counter sees nothing in inference mode (2.3 is one) is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from snn_codec import audio, checkpoints
from snn_codec.cli.common import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.hardware.encoder import encoder_of, encoder_operations
from snn_codec.hardware.features import encode_with_audio, encode_with_features, full_scale
from snn_codec.hardware.fold import decoder_matrix, fold
from snn_codec.hardware.operations import operations
from snn_codec.hardware.quantise import quantise
from snn_codec.loading import load

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.flac"
COLUMNS = {
    "events": "events",
    "transform_macs": "transform: MACs",
    "bottleneck_macs": "bottleneck: MACs",
    "between_groups_synaptic_operations": "between groups: synaptic operations",
    "decoder_synaptic_operations": "decoder's first layer: synaptic operations",
    "encoder": "torch encoder: MACs",
    "decoder": "torch decoder: MACs",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recording", type=Path, default=RECORDING)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--models", nargs="+", help="shipped models or folders (default: all shipped)")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    models = options.models or checkpoints.names()
    try:
        check_counter()
        rate = audio.info(options.recording).sample_rate
        sound, _ = audio.read(options.recording, 0, round(options.seconds * rate))
        rows = {Path(model).name: counted(load(model), sound, rate) for model in models}
    except UserError as error:
        return fatal(error)
    print(f"| a second of audio | {' | '.join(COLUMNS.values())} |\n{'|---' * (1 + len(COLUMNS))}|")
    for model, counts in rows.items():
        cells = (f"{counts[name]:,.0f}".replace(",", " ") if name in counts else "-" for name in COLUMNS)
        print(f"| `{model}` | {' | '.join(cells)} |")
    return 0


def check_counter() -> None:
    """See that operations are counted in inference mode, in which a codec works.

    Raises:
        UserError: They are not.
    """
    ones = torch.ones(2, 2)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        ones @ ones
    if counter.get_total_flops() != 16:
        raise UserError(
            f"PyTorch {torch.__version__} counts no operations in inference mode; run this with a newer one"
        )


def counted(codec: Codec, sound: np.ndarray, rate: int) -> dict[str, float]:
    """The counts of `COLUMNS` that this model has, per second of audio."""
    with FlopCounterMode(display=False) as encoding:
        events = codec.encode(sound, rate)
    with FlopCounterMode(display=False) as decoding:
        codec.decode(events)
    counts = {
        "encoder": encoding.get_total_flops() / 2 / events.duration,
        "decoder": decoding.get_total_flops() / 2 / events.duration,
    }
    try:
        layer = fold(codec.bottleneck)
    except UserError:  # no neurons
        return counts
    integers = quantise(layer, full_scale(codec, layer))
    events, runs = encode_with_features(codec, [sound], rate)
    graded = [integers.graded(run) for run in runs]
    spikes = np.concatenate([integers.spikes(run) for run in graded], 1)
    decoder = decoder_matrix(codec.bottleneck)
    counts |= operations(integers, np.concatenate(graded, 1), spikes, events.duration, decoder)
    if getattr(codec.encoder, "is_linear", False):
        encoder = encoder_of(codec)
        events, normal = encode_with_audio(codec, [sound], rate)
        counts |= encoder_operations(encoder, encoder.frames(normal, events.hop), events.duration, decoder)
    return counts


if __name__ == "__main__":
    raise SystemExit(main())
