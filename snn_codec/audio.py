"""Audio files in and out: any rate, any number of channels, in blocks, so that hours fit in memory.

Channels are mixed down to their mean: the codec is mono, as the paper's. Blocks are float32 `[samples]`.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike

from snn_codec import containers, loudness
from snn_codec.errors import UserError
from snn_codec.files import new_file, replacing

BLOCK = 1 << 16
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus", ".caf", ".w64", ".au")
# Formats that give back what is written: WVE, HTK and XI change the rate, SD2 and RAW have no header, SDS is read
# wrongly, and MATLAB's have no 16 bits.
_PLAIN = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64", "RF64", "AU")
_RARE = ("AVR", "IRCAM", "MPC2K", "NIST", "PAF", "PVF", "SVX", "VOC", "WAVEX")
FORMATS = {".aif": "AIFF"} | {f".{name.lower()}": name for name in (*_PLAIN, *_RARE)}  # by suffix
# Hz; beyond it, two wrap around, and libvorbis ends the process
_FASTEST = {"MPC2K": 0xFFFF, "SVX": 0xFFFF, "OGG": 192_000}
CHANNELS = ("mix", "left", "right")
_SMALL_BLOCK = 1 << 10  # of files that may be damaged: what is read together with a damaged part is lost
_GUESSED = ("MPEG_LAYER_I", "MPEG_LAYER_II")  # libsndfile only guesses the length of these
_MOST = 1 << 62  # samples, more than any file has
_MOST_SECONDS = 64  # of a block that is resampled; 65 536 samples at 1 Hz would become 5.8 GB
# dB; channels that have nothing in common lose 3.01 dB, so this is a sign that they cancel each other
_MOST_LOSS = 3.1


class Incomplete(UserError):
    """A file that ends before its header says, or is damaged, of which the part in front could be taken."""


class IncompleteWarning(UserWarning):
    """A file was taken as far as it goes."""


class ChannelsCancelWarning(UserWarning):
    """The mean of the channels is much softer than they are."""


class Info(NamedTuple):
    """Length in samples, rate in Hz and channels of an audio file."""

    samples: int
    sample_rate: int
    channels: int


def info(path: str | os.PathLike[str], *, incomplete_ok: bool = False) -> Info:
    """What the header of an audio file says.

    Raises:
        UserError: Missing, empty, or not audio that libsndfile reads.
        Incomplete: The file is cut off (without `incomplete_ok`).
    """
    with _opened(path, incomplete_ok) as file:
        return Info(file.frames, file.samplerate, file.channels)


def read_blocks(
    path: str | os.PathLike[str],
    *,
    channel: str = "mix",
    incomplete_ok: bool = False,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[np.ndarray]:
    """The file's samples at the file's own rate: the mean of its channels, or one of them.

    Warns if what is missing is so little that no one hears it (`IncompleteWarning`), and if the channels cancel each
    other in the mean (`ChannelsCancelWarning`).

    Args:
        path: The file.
        channel: `mix`, `left` or `right`; a file with one channel is taken as it is.
        incomplete_ok: Take what is there of a file that is cut off or damaged, with an `IncompleteWarning`.
        start: The first sample; only what is read is decoded.
        stop: The sample behind the last one, as far as the file goes; None for its end.

    Raises:
        UserError: As `info`, or a file that holds no samples, or values that are not finite or 56,000 times full scale,
            or ends before `start`.
        Incomplete: The file ends before its header says, or is damaged (without `incomplete_ok`).
    """
    if channel not in CHANNELS:
        raise UserError(f"the channel must be one of {', '.join(CHANNELS)}, not {channel!r}")
    _check_part(path, start, stop)
    with _opened(path, incomplete_ok) as file:
        yield from _blocks(file, path, channel, incomplete_ok, start, stop)


def _check_part(path: str | os.PathLike[str], start: int, stop: int | None) -> None:
    if start < 0 or (stop is not None and stop < start):
        raise UserError(
            f"{path}: samples {start} to {stop} are no part of a recording; give 0 <= start <= stop"
        )


def _blocks(
    file: _File,
    path: str | os.PathLike[str],
    channel: str,
    incomplete_ok: bool,
    start: int,
    stop: int | None,
) -> Iterator[np.ndarray]:
    """As `read_blocks`, of an open file."""
    if start > file.frames:
        raise UserError(f"{path}: has {file.frames} samples, so none from {start} on; begin earlier")
    guessed = stop is None and file.subtype in _GUESSED
    wanted = _MOST if guessed else min(file.frames if stop is None else stop, file.frames) - start
    problem, done, loss = file.missing, 0, _MixLoss()
    try:
        if start:
            file.seek(start)
        size = _SMALL_BLOCK if incomplete_ok else BLOCK
        while len(block := file.read(min(size, wanted - done), "float32", always_2d=True)):
            done += len(block)
            loss.add(block)
            yield _sound(_channel(block, channel), path)
    except soundfile.LibsndfileError as error:
        problem = f"it is damaged after {start + done} samples ({error})"
        if not incomplete_ok:
            raise Incomplete(
                f"{path}: is damaged after {start + done} samples ({error}); get the file again"
            ) from error
    if not done and (wanted or not file.frames):
        raise UserError(f"{path}: holds no samples; record or export it again")
    if done < wanted and not problem and not guessed:
        problem = f"{start + done} of {file.frames} samples are there"
        if not incomplete_ok:
            raise Incomplete(f"{path}: is cut off: {problem}; get the file again")
    _warn(path, problem, loss.decibels if channel == "mix" else 0.0)


def _warn(path: str | os.PathLike[str], problem: str, lost: float) -> None:
    """Of what is missing from a file, and of the decibels that the mean of its channels is softer than they are."""
    if problem:
        warnings.warn(f"{path}: {problem}; took what is there", IncompleteWarning, stacklevel=4)
    if lost > _MOST_LOSS:
        warnings.warn(
            f"{path}: its channels cancel each other: their mean is {lost:.1f} dB softer than they are; "
            "take one of them, left or right",
            ChannelsCancelWarning,
            stacklevel=4,
        )


class _File(soundfile.SoundFile):  # type: ignore[misc]
    """An audio file whose blocks follow each other: soundfile seeks after each, where an MP3's decoder begins anew.

    Attributes:
        missing: What is missing of it, as `containers.Finding` has it.
    """

    missing: str = ""

    def seekable(self) -> bool:
        return not self.subtype.startswith("MPEG") and super().seekable()


class _MixLoss:
    """How much softer the mean of the channels is than they are."""

    def __init__(self) -> None:
        self.mean = self.channels = 0.0

    def add(self, block: np.ndarray) -> None:
        if block.shape[1] > 1:
            self.mean += float(np.square(block.mean(1, dtype=np.float64)).sum())
            self.channels += float(np.square(block, dtype=np.float64).sum()) / block.shape[1]

    @property
    def decibels(self) -> float:
        return 10 * np.log10(self.channels / max(self.mean, 1e-20 * self.channels)) if self.channels else 0.0


def read(path: str | os.PathLike[str], start: int = 0, stop: int | None = None) -> tuple[np.ndarray, int]:
    """The samples [start, stop) of a file, mixed down, and its rate; warns as `read_blocks`.

    Raises:
        UserError: As `read_blocks`, or the samples are not in order.
    """
    _check_part(path, start, stop)
    with _opened(path) as file:
        blocks = list(_blocks(file, path, "mix", False, start, stop))
        return np.concatenate([np.zeros(0, np.float32), *blocks]), file.samplerate


def check_format(path: str | os.PathLike[str]) -> str:
    """libsndfile's name of the format that `write` gives a file, by its suffix.

    Raises:
        UserError: It stands for none.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        raise UserError(
            f"{path}: its suffix stands for no audio format that is written; use one of {', '.join(list(FORMATS)[1:5])}"
        )
    return FORMATS[suffix.lower()]


def write(
    path: str | os.PathLike[str], blocks: Iterable[ArrayLike], sample_rate: int, *, force: bool = False
) -> int:
    """Write float blocks as 16-bit audio in the format of the suffix; the number of samples beyond full scale.

    Those are clipped. The file appears when it is complete.

    Raises:
        UserError: The file exists (without `force`), cannot be written, its suffix is no format, or the format has no
            such rate; or samples are not float `[samples]`, or not finite.
    """
    path, format = Path(path), check_format(path)
    try:
        rate = whole_rate(sample_rate)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if rate > _FASTEST.get(format, rate):
        raise UserError(f"{path}: {format} has no rate of {rate} Hz; use .wav or .flac")
    clipped = 0
    with replacing(path, force=force) as temporary, new_file(temporary) as disk:
        try:
            file = soundfile.SoundFile(disk, "w", samplerate=rate, channels=1, format=format)
        except soundfile.LibsndfileError as error:
            reason = error.error_string.rstrip(".")
            raise UserError(
                f"{path}: cannot be written at {rate} Hz ({reason}); use .wav, or another rate"
            ) from error
        with file:
            for block in blocks:
                samples, beyond = _full_scale(block, f"{path}: cannot be written")
                clipped += beyond
                for at in range(0, len(samples), BLOCK):  # libvorbis ends the process at millions of samples
                    file.write(samples[at : at + BLOCK])
                disk.check()
    return clipped


def write_stream(file: BinaryIO, blocks: Iterable[np.ndarray], sample_rate: int, n_samples: int) -> int:
    """Write float blocks of `n_samples` in all as 16-bit WAV to a stream; the number of samples beyond full scale.

    The bytes of sound are those that `write` makes.

    Raises:
        UserError: More than a WAV file can hold, or samples that are not finite.
    """
    size = 2 * n_samples
    if size >= 0xFFFFFFFF - 36:
        raise UserError(f"{n_samples} samples are too many for a WAV stream; write a .w64 or .flac file")
    head = (
        b"RIFF",
        36 + size,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        sample_rate,
        2 * sample_rate,
        2,
        16,
        b"data",
        size,
    )
    file.write(struct.pack("<4sI4s4sIHHIIHH4sI", *head))
    clipped = 0
    for block in blocks:
        samples, beyond = _full_scale(block, "the sound cannot be written")
        clipped += beyond
        integers = io.BytesIO()
        soundfile.write(integers, samples, sample_rate, "PCM_16", endian="LITTLE", format="RAW")
        file.write(integers.getvalue())
    return clipped


def as_written(block: ArrayLike) -> np.ndarray:
    """What a reader finds of a block that `write` has written losslessly: clipped, and rounded to 16 bits.

    Raises:
        UserError: Samples are not float `[samples]`, or not finite.
    """
    samples, _ = _full_scale(block, "the sound cannot be written")
    integers = io.BytesIO()
    soundfile.write(integers, samples, 22050, "PCM_16", format="WAV")
    integers.seek(0)
    return np.asarray(soundfile.read(integers, dtype="float32")[0])


def _full_scale(block: ArrayLike, problem: str) -> tuple[np.ndarray, int]:
    """Float `[samples]` within full scale, as libsndfile takes them, and how many were beyond; or `problem`."""
    samples = _array(block)
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise UserError(f"{problem}: samples must be float [samples], not {samples.dtype} {samples.shape}")
    if not np.isfinite(samples).all():
        raise UserError(f"{problem}: samples are not numbers (NaN or infinity); see what made them")
    samples = samples.astype(np.float64 if samples.dtype.itemsize > 4 else np.float32, copy=False)
    return np.clip(samples, -1, 1), int(np.count_nonzero(np.abs(samples) > 1))


def _array(samples: ArrayLike) -> np.ndarray:
    """An array of anything like one.

    Raises:
        UserError: It is none, as a tensor on a GPU or lists of several lengths.
    """
    try:
        return np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"audio must be an array, not {type(samples).__name__} ({reason})") from error


def whole_rate(rate: object) -> int:
    """A sample rate in Hz as an int, from any kind of number that is whole.

    Raises:
        UserError: It is none, or not between 1 and 2^31 - 1.
    """
    try:
        whole = int(rate)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        whole = 0
    if isinstance(rate, (bool, np.bool_)) or whole != rate or not 0 < whole < 1 << 31:
        raise UserError(f"the sample rate must be a positive integer in Hz, not {rate!r}")
    return int(whole)


def _channel(block: np.ndarray, channel: str) -> np.ndarray:
    """`[samples, channels]` as float32 `[samples]`."""
    if channel == "mix" or block.shape[1] == 1:
        return mixed(block)
    return np.ascontiguousarray(block[:, CHANNELS.index(channel) - 1])


def mixed(block: np.ndarray) -> np.ndarray:
    """`[samples]` or `[samples, channels]` as float32 `[samples]`: the mean of the channels."""
    return block.mean(1, dtype=np.float32) if block.ndim == 2 else block.astype(np.float32, copy=False)


def resampled(blocks: Iterable[ArrayLike], source_rate: int, target_rate: int) -> Iterator[np.ndarray]:
    """Blocks `[samples]` or `[samples, channels]` mixed down and resampled; the same samples however they are cut.

    n samples become ceil(n target_rate / source_rate), at least one.

    Raises:
        UserError: No samples, a rate that is not positive, not float, not finite, or 56,000 times full scale.
    """
    source_rate = whole_rate(source_rate)
    stream = (
        soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32")
        if source_rate != target_rate
        else None
    )
    taken = given = 0
    for block in _reblocked(_checked(blocks), min(BLOCK, _MOST_SECONDS * source_rate)):
        taken += len(block)
        if stream is not None:
            block = stream.resample_chunk(block)
        given += len(block)
        if len(block):
            yield block
    if taken == 0:
        raise UserError("the audio has no samples; give at least one")
    if stream is not None:
        wanted = -(-taken * target_rate // source_rate)
        rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
        missing = max(wanted - given, 0)
        yield np.pad(rest[:missing], (0, max(missing - len(rest), 0)))


def _checked(blocks: Iterable[ArrayLike]) -> Iterator[np.ndarray]:
    for block in map(_array, blocks):
        if block.ndim not in (1, 2) or 0 in block.shape[1:] or not np.issubdtype(block.dtype, np.floating):
            hint = {"i": " (divide 16-bit integers by 32768)", "U": " (snn_codec.read_audio reads a file)"}
            raise UserError(
                f"audio must be float [samples] or [samples, channels], not {block.dtype} {block.shape}"
                + hint.get(block.dtype.kind, "")
            )
        if block.ndim == 2 and block.shape[1] > block.shape[0] > 0 and block.shape[1] > 64:
            raise UserError(f"audio of shape {block.shape} has more channels than samples; transpose it")
        yield _sound(mixed(block), "the audio")


def _reblocked(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cut anew into blocks of `size`, so that nothing downstream depends on how audio arrived."""
    rest: list[np.ndarray] = []
    held = 0
    for block in blocks:
        while held + len(block) >= size:
            cut = size - held
            yield np.concatenate([*rest, block[:cut]])
            rest, held, block = [], 0, block[cut:]
        rest.append(block)
        held += len(block)
    if held:
        yield np.concatenate(rest)


def _sound(block: np.ndarray, what: object) -> np.ndarray:
    peak = np.abs(block).max(initial=0)
    if not np.isfinite(peak):
        raise UserError(f"{what}: holds values that are not numbers (NaN or infinity); export it again")
    if peak > loudness.LARGEST:
        raise UserError(
            f"{what}: holds values to {peak:.2g}, where full scale is 1; divide it first, as 32-bit integers by 2**31"
        )
    return block


def _checked_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not an audio file")
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: is a pipe or a device, not a file; write its sound to a file first")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: is empty; record or export it again")
    return path


def _opened(path: str | os.PathLike[str], incomplete_ok: bool = False) -> _File:
    path = _checked_path(path)
    try:
        finding = containers.inspect(path)
        if finding.missing and not finding.slight and not incomplete_ok:
            raise Incomplete(f"{path}: {finding.problem}")
        file = _File(finding.opened(path))
        file.missing = finding.missing
        return file
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = getattr(error, "error_string", error)
        raise UserError(f"{path}: is not audio ({reason}); use one of {', '.join(SUFFIXES[:5])}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); see that you may read it") from error
