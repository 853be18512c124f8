"""Audio files in and out: any rate, any number of channels, in blocks, so that hours fit in memory.

Channels are mixed down to their mean: the codec is mono, as the paper's. Blocks are float32 `[samples]`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from snn_codec.errors import UserError
from snn_codec.files import replacing

BLOCK = 1 << 16
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus", ".caf", ".w64", ".au")


class Info(NamedTuple):
    """Length in samples, rate in Hz and channels of an audio file."""

    samples: int
    sample_rate: int
    channels: int


def info(path: str | os.PathLike[str]) -> Info:
    """What the header of an audio file says.

    Raises:
        UserError: Missing, empty, or not audio that libsndfile reads.
    """
    with _opened(path) as file:
        return Info(file.frames, file.samplerate, file.channels)


def read_blocks(path: str | os.PathLike[str]) -> Iterator[np.ndarray]:
    """The file's samples, mixed down, at the file's own rate.

    Raises:
        UserError: As `info`, or a file that ends before its header says, holds no samples, or values that
            are not finite.
    """
    with _opened(path) as file:
        done = 0
        try:
            for block in file.blocks(BLOCK, dtype="float32", always_2d=True):
                done += len(block)
                yield _finite(mixed(block), path)
        except soundfile.LibsndfileError as error:
            raise UserError(
                f"{path}: is damaged after {done} samples ({error}); get the file again"
            ) from error
        if done == 0:
            raise UserError(f"{path}: holds no samples; record or export it again")
        if done < file.frames:
            raise UserError(
                f"{path}: is cut off: {done} of {file.frames} samples are there; get the file again"
            )


_WAV_SIZE = re.compile(r"data : (\d+) \(should be (\d+)\)")
_UNKNOWN_SIZE = 0xFFFFF000  # what programs that write to a pipe put there


def _check_whole(file: soundfile.SoundFile, path: Path) -> None:
    """libsndfile reads a WAV that is cut off as a shorter one, and says so only in its log."""
    size = _WAV_SIZE.search(file.extra_info)
    if size and int(size[2]) < int(size[1]) < _UNKNOWN_SIZE:
        raise UserError(
            f"{path}: is cut off: {size[2]} of {size[1]} bytes of sound are there; get the file again"
        )


def read(path: str | os.PathLike[str], start: int = 0, stop: int | None = None) -> tuple[np.ndarray, int]:
    """The samples [start, stop) of a file, mixed down, and its rate; only that part is decoded.

    Raises:
        UserError: As `read_blocks`.
    """
    with _opened(path) as file:
        try:
            file.seek(start)
            block = file.read(-1 if stop is None else stop - start, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise UserError(f"{path}: is damaged ({error}); get the file again") from error
        return _finite(mixed(block), path), file.samplerate


def write(
    path: str | os.PathLike[str], blocks: Iterable[np.ndarray], sample_rate: int, *, force: bool = False
) -> int:
    """Write float blocks as 16-bit audio in the format of the suffix; the number of samples beyond full scale.

    Those are clipped. The file appears when it is complete.

    Raises:
        UserError: The file exists (without `force`), cannot be written, or its suffix is no format.
    """
    path = Path(path)
    clipped = 0
    with replacing(path, force=force) as temporary:
        try:
            with soundfile.SoundFile(temporary, "w", samplerate=sample_rate, channels=1) as file:
                for block in blocks:
                    clipped += int(np.count_nonzero(np.abs(block) > 1))
                    file.write(np.clip(block, -1, 1))
        except UserError:  # of whoever makes the blocks
            raise
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            known = ", ".join(SUFFIXES[:4])
            raise UserError(f"{path}: cannot be written ({error}); use a suffix such as {known}") from error
    return clipped


def mixed(block: np.ndarray) -> np.ndarray:
    """`[samples]` or `[samples, channels]` as float32 `[samples]`: the mean of the channels."""
    return block.mean(1, dtype=np.float32) if block.ndim == 2 else block.astype(np.float32, copy=False)


def resampled(blocks: Iterable[np.ndarray], source_rate: int, target_rate: int) -> Iterator[np.ndarray]:
    """Blocks `[samples]` or `[samples, channels]` mixed down and resampled; the same samples however they are cut.

    n samples become ceil(n target_rate / source_rate), at least one.

    Raises:
        UserError: No samples, a rate that is not positive, not float, or not finite.
    """
    if isinstance(source_rate, bool) or int(source_rate) != source_rate or source_rate < 1:
        raise UserError(f"the sample rate must be a positive integer in Hz, not {source_rate!r}")
    stream = (
        soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32")
        if source_rate != target_rate
        else None
    )
    taken = given = 0
    for block in _reblocked(_checked(blocks)):
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
        if wanted > given:
            rest = rest[: wanted - given]
            yield np.pad(rest, (0, wanted - given - len(rest)))


def _checked(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        block = np.asarray(block)
        if block.ndim not in (1, 2) or not np.issubdtype(block.dtype, np.floating):
            raise UserError(
                f"audio must be float [samples] or [samples, channels], not {block.dtype} {block.shape} "
                "(divide 16-bit integers by 32768)"
            )
        if block.ndim == 2 and block.shape[1] > block.shape[0] > 0 and block.shape[1] > 64:
            raise UserError(f"audio of shape {block.shape} has more channels than samples; transpose it")
        yield _finite(mixed(block), "the audio")


def _reblocked(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Cut anew into blocks of `BLOCK`, so that nothing downstream depends on how audio arrived."""
    rest: list[np.ndarray] = []
    held = 0
    for block in blocks:
        while held + len(block) >= BLOCK:
            cut = BLOCK - held
            yield np.concatenate([*rest, block[:cut]])
            rest, held, block = [], 0, block[cut:]
        rest.append(block)
        held += len(block)
    if held:
        yield np.concatenate(rest)


def _finite(block: np.ndarray, what: object) -> np.ndarray:
    if not np.isfinite(block).all():
        raise UserError(f"{what}: holds values that are not numbers (NaN or infinity); export it again")
    return block


def _opened(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not an audio file")
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: is empty; record or export it again")
    try:
        file = soundfile.SoundFile(path)
        _check_whole(file, path)
        return file
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = getattr(error, "error_string", error)
        raise UserError(f"{path}: is not audio ({reason}); use one of {', '.join(SUFFIXES[:5])}") from error
