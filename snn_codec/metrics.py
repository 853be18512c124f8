"""Distances between a recording and its decoded version, and the registry of what an evaluation measures.

Functions named `batch_...` take tensors `[batch, samples]` and can be differentiated, for training and search; the
others take arrays `[samples]`, at the target's level, and give floats. `MEASURES` is the registry: an entry there is a
column of every evaluation, table and figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from snn_codec import attacks, perceptual
from snn_codec.errors import UserError

WINDOWS = (256, 512, 1024, 2048)  # samples, of the STFT distance
FLOOR = 1e-4  # -80 dB below a normalised signal's level: quieter bins say nothing about a recording
BANDS = {512: 32, 1024: 64, 2048: 128}  # mel bands by window: one is as wide as a bin at the low end
LOWEST_HZ = 30.0  # of mel bands
NARROW_HZ = 7000.0  # what recordings at 16 kHz have; above it, a decoder is compared with nothing at all
BEFORE, AFTER = 0.010, 0.070  # seconds around an onset: the attack, and what a step or two can smear it by


def batch_si_snr(estimate: Tensor, target: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale-invariant signal-to-noise ratio in dB, `[batch]`, of audio `[batch, samples]`, means removed."""
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    scale = (estimate * target).sum(-1, keepdim=True) / (target.square().sum(-1, keepdim=True) + eps)
    signal = scale * target
    noise = estimate - signal
    return 10 * torch.log10((signal.square().sum(-1) + eps) / (noise.square().sum(-1) + eps))


def magnitudes(audio: Tensor, size: int) -> Tensor:
    """Magnitude STFT `[batch, frame, size / 2 + 1]` of `[batch, samples]`, Hann, hop size / 2, floored."""
    window = torch.hann_window(size, device=audio.device)
    spectrum = torch.fft.rfft(audio.unfold(-1, size, size // 2) * window, norm="ortho")
    return (spectrum.real.square() + spectrum.imag.square() + FLOOR**2).sqrt()  # faster than abs() to train


def batch_stft_distance(
    estimate: Tensor, target: Tensor, windows: tuple[int, ...] = WINDOWS, share: float = 1.0
) -> Tensor:
    """Spectral convergence plus mean log-magnitude difference, averaged over windows; audio `[batch, samples]`.

    `share` is that of the frequencies, from the lowest on.
    """
    total = estimate.new_zeros(())
    for size in windows:
        bins = round(share * size / 2) + 1
        found, wanted = (magnitudes(audio, size)[..., :bins] for audio in (estimate, target))
        convergence = torch.linalg.vector_norm(found - wanted) / torch.linalg.vector_norm(wanted)
        total = total + convergence + (found / wanted).log().abs().mean()
    return total / len(windows)


def batch_mel_distance(
    estimate: Tensor, target: Tensor, sample_rate: int, highest_hz: float | None = None
) -> Tensor:
    """Multi-scale log-mel distance in dB of normalised audio `[batch, samples]`.

    For windows of 512, 1024 and 2048 samples (Hann, hop half a window) and 32, 64, 128 triangular bands from 30 Hz to
    `highest_hz`, by default half the sample rate (HTK's scale), the mean over frames and bands of the absolute
    difference of 10 log10(mel power), each bin floored 80 dB below a level of one (orthonormal transform); then the
    mean over windows.

    Reference: the log term of the mel loss of the Descript Audio Codec (Kumar et al. 2023, arXiv 2306.06546).
    Departs: in dB and averaged over scales, not summed.
    """
    total = estimate.new_zeros(())
    for size, bands in BANDS.items():
        bank = _bank(sample_rate, size, bands, highest_hz).to(estimate)
        found, wanted = (
            10 * (magnitudes(audio, size).square() @ bank).log10() for audio in (estimate, target)
        )
        total = total + (found - wanted).abs().mean()
    return total / len(BANDS)


def mel_filters(
    sample_rate: int, window: int, bands: int, lowest_hz: float = LOWEST_HZ, highest_hz: float | None = None
) -> np.ndarray:
    """Triangles with a peak of one on HTK's mel scale, float32 `[frequencies, bands]`.

    From `lowest_hz` to `highest_hz`, by default half the sample rate. A band is at least one bin wide, or the lowest
    would lie between two bins.
    """
    highest_hz = sample_rate / 2 if highest_hz is None else highest_hz
    first, last = 2595 * np.log10(1 + np.array([lowest_hz, highest_hz]) / 700)
    centres = 700 * (10 ** (np.linspace(first, last, bands + 2) / 2595) - 1)
    frequencies = np.arange(window // 2 + 1) * sample_rate / window
    low = np.minimum(centres[:-2], centres[1:-1] - sample_rate / window)
    high = np.maximum(centres[2:], centres[1:-1] + sample_rate / window)
    rising = (frequencies[:, None] - low) / (centres[1:-1] - low)
    falling = (high - frequencies[:, None]) / (high - centres[1:-1])
    return np.maximum(np.minimum(rising, falling), 0).astype(np.float32)


@lru_cache
def _bank(sample_rate: int, size: int, bands: int, highest_hz: float | None) -> Tensor:
    with torch.inference_mode(False):  # it is kept, and gradients may have to pass it later
        return torch.from_numpy(mel_filters(sample_rate, size, bands, highest_hz=highest_hz))


def si_snr(estimate: np.ndarray, target: np.ndarray) -> float:
    """Scale-invariant signal-to-noise ratio in dB of two recordings `[samples]` of one length; higher is better.

    A silent target or estimate, also one that stands still beside zero, has no such ratio: the result is NaN.

    Examples:
        >>> target = np.array([1.0, -1.0, 1.0, -1.0])
        >>> round(si_snr(target + np.array([0.1, 0.1, -0.1, -0.1]), target), 3)
        20.0
    """
    found, wanted = (torch.from_numpy(np.asarray(x, np.float64)) for x in (estimate, target))
    if (wanted == wanted[:1]).all() or (found == found[:1]).all():
        return float("nan")
    scale = torch.sqrt(wanted.numel() / wanted.square().sum())  # so that quiet recordings are not all eps
    return float(batch_si_snr(found * scale, wanted * scale, eps=1e-12))


def stft_distance(estimate: np.ndarray, target: np.ndarray, share: float = 1.0) -> float:
    """Multi-resolution STFT distance (`batch_stft_distance`) at the target's level; lower is better.

    NaN for a silent target or one shorter than the longest window.
    """
    pair = _at_level(estimate, target, max(WINDOWS))
    return float(batch_stft_distance(*pair, share=share)) if pair else float("nan")


def mel_distance(
    estimate: np.ndarray, target: np.ndarray, sample_rate: int, highest_hz: float | None = None
) -> float:
    """Multi-scale log-mel distance in dB (`batch_mel_distance`) at the target's level; lower is better.

    NaN for a silent target or one shorter than the longest window.
    """
    pair = _at_level(estimate, target, max(BANDS))
    return float(batch_mel_distance(*pair, sample_rate, highest_hz)) if pair else float("nan")


def _at_level(estimate: np.ndarray, target: np.ndarray, shortest: int) -> tuple[Tensor, Tensor] | None:
    """Both divided by the target's RMS, float32 `[1, samples]`, so that quiet recordings count the same."""
    found, wanted = (torch.from_numpy(np.asarray(x, np.float32)) for x in (estimate, target))
    level = wanted.square().mean().sqrt()
    if level == 0 or len(wanted) < shortest:
        return None
    return found[None] / level, wanted[None] / level


def onset_si_snr(
    estimate: np.ndarray, target: np.ndarray, onsets: Sequence[float] | np.ndarray, sample_rate: int
) -> float:
    """SI-SNR in dB over the union of the windows of -10 to +70 ms around note onsets; higher is better.

    Args:
        estimate, target: `[samples]`.
        onsets: In seconds from the first sample; those outside count as far as their windows reach in.

    The samples of all windows are taken as one signal, whose mean is removed and whose scale is free. NaN if
    there is none, or it is silent.
    """
    inside = np.zeros(len(target), bool)
    before, after = round(BEFORE * sample_rate), round(AFTER * sample_rate)
    for onset in np.rint(np.asarray(onsets, float) * sample_rate).astype(int):
        inside[max(onset - before, 0) : max(onset + after, 0)] = True
    return si_snr(np.asarray(estimate)[inside], np.asarray(target)[inside])


@dataclass(frozen=True, eq=False)
class Clip:
    """A decoded clip, as measures see it: float `[samples]` twice, note onsets in seconds, and what its code costs."""

    decoded: np.ndarray
    original: np.ndarray
    sample_rate: int
    onsets: np.ndarray
    kbps: float = float("nan")
    dense_kbps: float = float("nan")
    density: float = float("nan")
    events_per_second: float = float("nan")

    @cached_property
    def attacks(self) -> np.ndarray:
        """Onsets in seconds: of the notes, or, without MIDI, found in the original (`attacks.energy_onsets`)."""
        return self.onsets if len(self.onsets) else attacks.energy_onsets(self.original, self.sample_rate)


@dataclass(frozen=True)
class Measure:
    """A measure of a decoded clip, and how to print it.

    Attributes:
        label, unit: For axes and tables; `unit` is "" if there is none.
        digits: Decimals in tables.
        better: `higher`, `lower`, or "" if neither is better.
        of: Computes it from a `Clip`; NaN where it is not defined.
        on_request: Whether it is computed only when it is asked for by name.
        check: Raises a UserError if its package is missing.
    """

    label: str
    unit: str
    digits: int
    better: str
    of: Callable[[Clip], float]
    on_request: bool = False
    check: Callable[[], object] | None = None

    @property
    def title(self) -> str:
        """Label and unit for an axis."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


MEASURES: dict[str, Measure] = {
    "si_snr": Measure("SI-SNR", "dB", 2, "higher", lambda clip: si_snr(clip.decoded, clip.original)),
    "onset_si_snr": Measure(
        "SI-SNR around onsets", "dB", 2, "higher",
        lambda clip: onset_si_snr(clip.decoded, clip.original, clip.onsets, clip.sample_rate),
    ),
    "stft_distance": Measure(
        "STFT distance", "", 3, "lower", lambda clip: stft_distance(clip.decoded, clip.original)
    ),
    "mel_distance": Measure(
        "mel distance", "dB", 2, "lower",
        lambda clip: mel_distance(clip.decoded, clip.original, clip.sample_rate),
    ),
    "kbps": Measure("true bytes", "kbit/s", 3, "", lambda clip: clip.kbps),
    "dense_kbps": Measure("one bit a cell", "kbit/s", 3, "", lambda clip: clip.dense_kbps),
    "density": Measure("events per cell", "", 3, "", lambda clip: clip.density),
    "events_per_second": Measure("events", "1/s", 0, "", lambda clip: clip.events_per_second),
    "visqol": Measure(
        "ViSQOL", "MOS-LQO", 2, "higher",
        lambda clip: perceptual.visqol(clip.decoded, clip.original, clip.sample_rate),
        on_request=True, check=perceptual.visqol_api,
    ),
    "zimtohrli": Measure(
        "Zimtohrli", "MOS", 2, "higher",
        lambda clip: perceptual.zimtohrli(clip.decoded, clip.original, clip.sample_rate),
        on_request=True, check=perceptual.zimtohrli_api,
    ),
    "visqol_loud": Measure(
        "ViSQOL, 10 dB louder", "MOS-LQO", 2, "higher",
        lambda clip: perceptual.visqol(clip.decoded, clip.original, clip.sample_rate, gain_db=10),
        on_request=True, check=perceptual.visqol_api,
    ),
    "stft_distance_7k": Measure(
        "STFT distance below 7 kHz", "", 3, "lower",
        lambda clip: stft_distance(clip.decoded, clip.original, 2 * NARROW_HZ / clip.sample_rate),
        on_request=True,
    ),
    "mel_distance_7k": Measure(
        "mel distance below 7 kHz", "dB", 2, "lower",
        lambda clip: mel_distance(clip.decoded, clip.original, clip.sample_rate, NARROW_HZ),
        on_request=True,
    ),
    "attack_si_snr": Measure(
        "SI-SNR around attacks", "dB", 2, "higher",
        lambda clip: onset_si_snr(clip.decoded, clip.original, clip.attacks, clip.sample_rate),
        on_request=True,
    ),
    "pre_echo": Measure(
        "pre-echo below the attack", "dB", 1, "lower",
        lambda clip: attacks.pre_echo(clip.decoded, clip.original, clip.attacks, clip.sample_rate),
        on_request=True,
    ),
    "pre_echo_own": Measure(
        "error before attacks", "dB of the sound there", 1, "lower",
        lambda clip: attacks.pre_echo(clip.decoded, clip.original, clip.attacks, clip.sample_rate, own=True),
        on_request=True,
    ),
}  # fmt: skip


def always() -> tuple[str, ...]:
    """Names of the measures that every evaluation computes."""
    return tuple(name for name, measure in MEASURES.items() if not measure.on_request)


def check(names: Iterable[str]) -> None:
    """Check that these measures, which are computed on request only, can be computed.

    Raises:
        UserError: There is no such measure, or its package is missing.
    """
    known = {name: measure.check for name, measure in MEASURES.items() if measure.on_request}
    for name in names:
        if name not in known:
            raise UserError(f"--perceptual {name}: must be of {', '.join(known)}, with commas between")
        if (can_be_computed := known[name]) is not None:
            can_be_computed()
