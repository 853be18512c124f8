"""Where in frequency the codec is exact: signal-to-noise ratio by band, for several pianos.

    python experiments/band_snr.py DATA... [--model free] [--split validation] [--recordings 17]

For each data set: the share of the energy in each band, and the ratio in dB of the energy to that of the
error in the band (after the one scale that SI-SNR allows), over all clips of 5.94 s. A piano with much energy
where the ratio is near 0 dB has a low SI-SNR, however well the model knows it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import fft

from snn_codec import corpus
from snn_codec.cli import fatal
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS
from snn_codec.metrics import si_snr

EDGES = np.array([0, 250, 500, 1000, 2000, 4000, np.inf])
BANDS = ("< 250 Hz", "250-500", "500-1000", "1-2 kHz", "2-4 kHz", "> 4 kHz")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="+", help="folders of recordings")
    parser.add_argument("--model", default="free", help="a shipped model or a checkpoint folder (free)")
    parser.add_argument("--split", help="as in snn-codec evaluate")
    parser.add_argument("--recordings", type=int, default=10**9, help="of each data set, at most (all)")
    options = parser.parse_args()
    try:
        codec = Codec.load(options.model)
        print(f"{'':24}{'SI-SNR':>8}  " + "".join(f"{band:>11}" for band in BANDS))
        for folder in options.data:
            paths = corpus.paths(folder, corpus.measured_split(folder, options.split))[: options.recordings]
            score, energy, error = measured(codec, paths)
            print(
                f"{folder.name[:24]:24}{score:8.2f}  " + "".join(f"{100 * share:9.1f} %" for share in energy)
            )
            ratios = 10 * np.log10(energy / error)
            print(f"{'':34}" + "".join(f"{ratio:8.1f} dB" for ratio in ratios), flush=True)
    except UserError as error:
        return fatal(error)
    return 0


def measured(codec: Codec, paths: list[Path]) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean SI-SNR of the clips, and each band's energy and error as a share of the clips' energy, means.

    Raises:
        UserError: A recording cannot be read, or none has a whole clip.
    """
    length, rate = CHUNK_STEPS * codec.settings.hop, codec.settings.sample_rate
    bands = np.searchsorted(EDGES, fft.rfftfreq(length, 1 / rate), side="right") - 1
    scores, energies, errors = [], [], []
    for clip in corpus.clips(paths, length, rate):
        decoded = codec.decode(codec.encode(clip, rate))
        if not clip.any() or not decoded.any():
            continue
        wanted, found = fft.rfft(clip), fft.rfft(decoded)
        scale = np.vdot(clip, decoded) / np.vdot(decoded, decoded)
        power = np.square(np.abs([wanted, wanted - scale * found]))
        energy, error = (np.bincount(bands, values, len(BANDS)) / power[0].sum() for values in power)
        scores.append(si_snr(decoded, clip))
        energies.append(energy)
        errors.append(error)
    if not scores:
        raise UserError(
            f"{paths[0]}: neither it nor the others hold a clip of {length / rate:.2f} s with sound"
        )
    return float(np.mean(scores)), np.mean(energies, axis=0), np.mean(errors, axis=0)


if __name__ == "__main__":
    raise SystemExit(main())
