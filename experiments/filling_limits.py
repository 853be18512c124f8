"""How near a decoder could come that fills in what `wide` leaves out, if it knew the energies of it exactly.

    python experiments/filling_limits.py DATA [--model wide@1.28kbps] [--beside free+gan wide+filling@1.28kbps]

To the plain decoder's sound noise is added, with the energies that the residual has in blocks of 256 samples
(12 ms), in 28 bands or 112. The events do not say these; a decoder infers them. The other rows are
coders of `evaluate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from snn_codec import corpus
from snn_codec.cli import fatal
from snn_codec.errors import UserError
from snn_codec.evaluation import coders
from snn_codec.evaluation.coder import Coded
from snn_codec.floor import shares
from snn_codec.metrics import MEASURES, Clip
from snn_codec.models.lapped import inverse_mdct, mdct
from snn_codec.progress import bar
from snn_codec.stats import between, bootstrap

COLUMNS = ("kbps", "si_snr", "stft_distance", "mel_distance")
BLOCK, BANDS = 256, (28, 112)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument(
        "--model", default="wide@1.28kbps", help="whose plain sound is filled in, as in evaluate"
    )
    parser.add_argument(
        "--beside", nargs="*", default=["free+gan", "wide+filling@1.28kbps"], help="other coders"
    )
    parser.add_argument("--split", help="as in snn-codec evaluate")
    parser.add_argument(
        "--clips", type=int, default=24, help="or a few more: as many first ones of each recording (24)"
    )
    parser.add_argument("--perceptual", choices=["zimtohrli", "visqol"], help="also this measure")
    options = parser.parse_args()
    columns = [*COLUMNS, *filter(None, [options.perceptual])]
    try:
        recordings = corpus.recordings(options.data, corpus.measured_split(options.data, options.split))
        found = measured(recordings, options.model, options.beside, options.clips, columns)
    except UserError as error:
        return fatal(error)
    print("| | " + " | ".join(MEASURES[name].title for name in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for row, (values, groups) in found.items():
        means = ((name, bootstrap(np.array(values[name]), groups)) for name in columns)
        cells = (f"{mean['mean']:.{MEASURES[name].digits}f} ({between(mean, '.2f')})" for name, mean in means)
        print(f"| {row} | " + " | ".join(cells) + " |")
    return 0


def measured(
    recordings: list[corpus.Recording], model: str, beside: list[str], clips: int, columns: list[str]
) -> dict[str, tuple[dict[str, list[float]], list[str]]]:
    """Of each row of the table, the measures of all clips, and the recordings that these are of."""
    plain, others = coders.load(model), [coders.load(name) for name in beside]
    each = -(-clips // len(recordings))
    found: dict[str, tuple[dict[str, list[float]], list[str]]] = {}

    def add(row: str, coded: Coded, clip: np.ndarray, group: str) -> None:
        seen = Clip(coded.audio, clip, plain.sample_rate, np.zeros(0), *coded[1:])
        values, groups = found.setdefault(row, ({name: [] for name in columns}, []))
        groups.append(group)
        for name in columns:
            values[name].append(MEASURES[name].of(seen))

    with bar(model, len(recordings)) as advance:
        for number, recording in enumerate(recordings):
            for index, clip in enumerate(
                corpus.clips([recording.path], plain.length, plain.sample_rate, each=each)
            ):
                for coder in others:
                    add(f"`{coder.name}`", coder.code(clip), clip, recording.name)
                coded = plain.code(clip)
                for bands in BANDS:
                    sound = filled(coded.audio, clip, bands, plain.sample_rate, seed=index)
                    row = f"`{model}` and noise with the exact energies of {bands} bands"
                    add(row, coded._replace(audio=sound), clip, recording.name)
            advance(number + 1)
    return found


def filled(plain: np.ndarray, clip: np.ndarray, bands: int, sample_rate: int, *, seed: int) -> np.ndarray:
    """`plain` with noise that has the residual's energies, float32 `[samples]`."""
    share = torch.from_numpy(shares(bands, BLOCK, sample_rate).copy()).float()
    length = len(clip) // BLOCK * BLOCK
    residual = mdct(torch.from_numpy((clip - plain)[:length].astype(np.float32))[None], BLOCK)
    weight = share.sum(1, keepdim=True)
    kept = weight[:, 0] > 0  # a narrow band at the bottom may be without a bin
    power = residual.square() @ (share[kept] / weight[kept]).T
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(residual.shape, np.float32))
    sound = plain.astype(np.float32).copy()
    sound[:length] += inverse_mdct(noise * (power @ share[kept]).sqrt())[0].numpy()
    return sound


if __name__ == "__main__":
    raise SystemExit(main())
