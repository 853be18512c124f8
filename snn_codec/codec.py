"""The codec: encoder, bottleneck and decoder, composed; audio to events and back.

Long audio is cut on one canonical grid of chunks (`events.CHUNK_STEPS`). Each chunk is computed from its own
samples and `context_steps` steps borrowed on both sides, at the gain of `snn_codec.levels`. Whole recordings,
streams and folders all run these same windows, so they give the same events. The spectral networks see no
further than the context, so their output is that of the whole recording in one piece; the LSTM of SEANet
could see further, and is cut there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from snn_codec import checkpoints, config, levels
from snn_codec.audio import resampled
from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS, EventMatrix, steps_for
from snn_codec.files import replacing
from snn_codec.models.rvq import ResidualVectorQuantiser
from snn_codec.models.seanet import SEANetDecoder, SEANetEncoder
from snn_codec.models.spectral import SpectralDecoder, SpectralEncoder
from snn_codec.models.spiking import SpikingBottleneck
from snn_codec.storage.context import FILE_NAME as CONTEXT_FILE
from snn_codec.storage.context import ContextModel

ENCODERS = {"spectral": SpectralEncoder, "seanet": SEANetEncoder}
BOTTLENECKS = {"spiking": SpikingBottleneck, "rvq": ResidualVectorQuantiser}
DECODERS = {"spectral": SpectralDecoder, "seanet": SEANetDecoder}


class Output(NamedTuple):
    """What a training step needs: the decoded audio, the spikes, and the bottleneck's relative residual."""

    audio: Tensor
    spikes: Tensor
    residual: Tensor


class Codec(nn.Module):
    """Audio -> events -> audio, by three interchangeable parts.

    Args:
        model: Which parts, their sizes, and the grid that they share.

    Attributes:
        context: The context model of this checkpoint's events (`snn_codec.storage.context`), which makes
            bitstreams shorter; None if none was trained.

    Raises:
        UserError: Settings that contradict each other.
    """

    def __init__(self, model: config.Model):
        super().__init__()
        if not 0 <= model.context_steps <= CHUNK_STEPS // 2:
            raise UserError(f"context_steps must be 0 to {CHUNK_STEPS // 2}, not {model.context_steps}")
        if model.decoder.width != model.encoder.width:
            raise UserError(
                f"encoder and decoder need one width, not {model.encoder.width} and {model.decoder.width}"
            )
        self.settings = model
        self.context: ContextModel | None = None
        self.encoder = ENCODERS[model.encoder.kind](model.hop, model.encoder)
        bottleneck = BOTTLENECKS[model.bottleneck.kind]
        self.bottleneck = bottleneck(model.encoder.width, model.units, model.bottleneck)
        self.decoder = DECODERS[model.decoder.kind](model.hop, model.decoder)

    def forward(self, audio: Tensor) -> Output:
        """Normalised audio `[batch, samples]` -> what the training loss needs."""
        features = self.encoder(audio)
        quantised, spikes, residual = self.bottleneck(features)
        return Output(self.decoder(quantised)[:, : audio.shape[-1]], spikes, residual)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for the weights and settings; events carry them."""
        digest = hashlib.sha256(json.dumps(config.to_dict(self.settings), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def encode(self, audio: np.ndarray, sample_rate: int, *, batch_size: int = 1) -> EventMatrix:
        """Audio as events.

        Args:
            audio: float `[samples]`, or `[samples, channels]`, whose mean is coded.
            sample_rate: Of `audio`, in Hz; other rates than the codec's are resampled.
            batch_size: Chunks computed at once; more than one pays on a GPU.

        Raises:
            UserError: No samples, not float, more than two dimensions, or not finite.
        """
        return self.encode_blocks([np.asarray(audio)], sample_rate, batch_size=batch_size)

    def encode_blocks(
        self,
        blocks: Iterable[np.ndarray],
        sample_rate: int,
        *,
        batch_size: int = 1,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> EventMatrix:
        """As `encode`, for audio that arrives in blocks of any lengths; memory is bounded but for the events.

        `progress` is called with the seconds of audio done.
        """
        codes: list[int] = []
        counted = _Counted(resampled(blocks, sample_rate, self.settings.sample_rate))
        parts, done = [], 0
        for spikes in self._coded(counted, codes, batch_size, self.bottleneck.encode):
            parts.append((spikes > 0.5).cpu().numpy())
            done += spikes.shape[1] * self.settings.hop
            progress(done / self.settings.sample_rate)
        return EventMatrix(
            np.concatenate(parts, 1),
            self.settings.sample_rate,
            self.settings.hop,
            counted.samples,
            self.fingerprint,
            np.array(codes, np.uint8),
        )

    def membranes(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """What the neurons compare with zero: float32 `[units, steps]`; `encode` gives where it is positive.

        Raises:
            UserError: As `encode`, or the bottleneck has no neurons.
        """
        if not isinstance(self.bottleneck, SpikingBottleneck):
            raise UserError(f"a bottleneck of kind {self.settings.bottleneck.kind} has no membranes")
        blocks = resampled([np.asarray(audio)], sample_rate, self.settings.sample_rate)

        def membrane(features: Tensor) -> Tensor:
            return self.bottleneck.encode_with_membrane(features)[1]

        return np.concatenate([part.cpu().numpy() for part in self._coded(blocks, [], 1, membrane)], 1)

    def _coded(
        self,
        blocks: Iterable[np.ndarray],
        codes: list[int],
        batch_size: int,
        code: Callable[[Tensor], Tensor],
    ) -> Iterator[Tensor]:
        """`code` of the features, `[unit, step]`, of one chunk after the other; level codes go to `codes`."""
        for batch in _batches(
            _windows(blocks, codes, self.settings.hop, self.settings.context_steps), batch_size
        ):
            audio = torch.from_numpy(np.stack([window.audio for window in batch])).to(self.device)
            with torch.inference_mode(), _evaluating(self):
                coded = code(self.encoder(audio))
            for window, chunk in zip(batch, coded, strict=True):
                yield chunk[:, window.before : window.before + window.steps]

    def decode(self, events: EventMatrix) -> np.ndarray:
        """Events as audio: float32 `[events.n_samples]` at `events.sample_rate`, mono.

        Raises:
            UserError: The events are not this codec's.
        """
        return np.concatenate(list(self.decode_blocks(events)))

    def decode_blocks(self, events: EventMatrix) -> Iterator[np.ndarray]:
        """As `decode`, chunk by chunk: float32 blocks of up to 256 steps, in bounded memory."""
        self._check(events)
        hop, context = events.hop, self.settings.context_steps
        for start in range(0, events.n_steps, events.chunk_steps):
            stop = min(start + events.chunk_steps, events.n_steps)
            first, last = max(0, start - context), min(events.n_steps, stop + context)
            spikes = torch.from_numpy(events.events[None, :, first:last].astype(np.float32)).to(self.device)
            with torch.inference_mode(), _evaluating(self):
                audio = self.decoder(self.bottleneck.decode(spikes))[0].float().cpu().numpy()
            begin, end = start * hop, min(stop * hop, events.n_samples)
            gain = levels.gain(events.levels, events.chunk_steps * hop, begin, end)
            yield audio[begin - first * hop : end - first * hop] * gain

    def _check(self, events: EventMatrix) -> None:
        ours = self.fingerprint
        if events.fingerprint != ours:
            raise UserError(
                f"these events were made by the model {events.fingerprint or '(none)'}, "
                f"but this model is {ours}; decode with the model that encoded"
            )
        grid = (events.n_units, events.sample_rate, events.hop, len(events.levels))
        expected = (self.settings.units, self.settings.sample_rate, self.settings.hop, events.n_chunks)
        if grid != expected:
            raise UserError(
                f"units, sample rate, hop and number of levels are {grid}, where this model has {expected}"
            )

    def save(self, path: str | Path, *, half: bool = False, force: bool = False) -> None:
        """Write the checkpoint: `config.json`, `model.safetensors`, and the context model, in the folder `path`.

        With `half`, matrices are stored as float16 (the model that is loaded again is that rounded one).

        Raises:
            UserError: The files exist (without `force`) or cannot be written.
        """
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be made ({error.strerror})") from error
        tensors = {
            name: (tensor.half() if half and tensor.ndim > 1 else tensor).detach().cpu().contiguous()
            for name, tensor in self.state_dict().items()
        }
        with replacing(folder / "model.safetensors", force=force) as temporary:
            save_file(tensors, temporary)
        with replacing(folder / "config.json", force=force) as temporary:
            temporary.write_text(json.dumps({"model": config.to_dict(self.settings)}, indent=2) + "\n")
        if self.context is not None:
            self.context.save(folder / CONTEXT_FILE, force=force)

    @classmethod
    def load(cls, name: str | Path = checkpoints.DEFAULT, device: str | torch.device = "cpu") -> Codec:
        """The codec in the checkpoint folder `name`, or the shipped one of that name, ready to use.

        Raises:
            UserError: No such checkpoint, or a damaged one.
        """
        folder = checkpoints.find(name)
        try:
            settings = json.loads((folder / "config.json").read_text())["model"]
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise UserError(
                f"{folder / 'config.json'}: is damaged ({error}); get the checkpoint again"
            ) from error
        codec = cls(config.from_dict(config.Model, settings, f"{folder / 'config.json'}: model"))
        file = folder / "model.safetensors"
        try:
            codec.load_state_dict(
                {
                    key: value.float() if value.is_floating_point() else value
                    for key, value in load_file(file).items()
                }
            )
        except (SafetensorError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{file}: is missing or damaged ({reason}); get the checkpoint again") from error
        codec.context = ContextModel.of(folder, codec.fingerprint)
        return codec.to(device).eval()


class _evaluating:
    """Batch norm by running statistics inside the block, whatever mode the codec is in."""

    def __init__(self, codec: Codec):
        self.codec = codec

    def __enter__(self) -> None:
        self.was_training = self.codec.training
        self.codec.eval()

    def __exit__(self, *_: object) -> None:
        self.codec.train(self.was_training)


class _Counted:
    """Blocks, and how many samples they held so far."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks:
            self.samples += len(block)
            yield block


class _Window(NamedTuple):
    audio: np.ndarray  # normalised float32, this chunk and its context
    before: int  # steps of context in front
    steps: int  # steps of the chunk itself


def _windows(blocks: Iterable[np.ndarray], codes: list[int], hop: int, context: int) -> Iterator[_Window]:
    """Cut audio into the windows of the canonical grid; append each chunk's level code to `codes`.

    A chunk's gain depends on the levels of both neighbours, so a window comes when the next chunk is full.
    """
    size, margin = CHUNK_STEPS * hop, context * hop
    buffer, offset, index = np.zeros(0, np.float32), 0, 0  # buffer[0] is sample `offset` of the recording

    def window(stop: int) -> _Window:
        first, last = max(0, index * size - margin), min(stop, (index + 1) * size + margin)
        gain = levels.gain(np.array(codes, np.uint8), size, first, last)
        steps = steps_for(min(stop, (index + 1) * size) - index * size, hop)
        return _Window(
            _whole_steps(buffer[first - offset : last - offset] / gain, hop),
            (index * size - first) // hop,
            steps,
        )

    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while offset + len(buffer) >= (len(codes) + 1) * size:
            start = len(codes) * size - offset
            codes.append(levels.measure(buffer[start : start + size], hop))
            if len(codes) > 1 and offset + len(buffer) >= (index + 1) * size + margin:
                yield window((index + 1) * size + margin)
                index += 1
                drop = max(0, index * size - margin - offset)
                buffer, offset = buffer[drop:], offset + drop
    stop = offset + len(buffer)
    if stop > len(codes) * size:
        codes.append(levels.measure(buffer[len(codes) * size - offset :], hop))
    while index < len(codes):
        yield window(stop)
        index += 1


def _whole_steps(audio: np.ndarray, hop: int) -> np.ndarray:
    return np.pad(audio, (0, -len(audio) % hop))


def _batches(windows: Iterable[_Window], size: int) -> Iterator[list[_Window]]:
    """Runs of at most `size` windows of equal length."""
    for _, run in groupby(windows, key=lambda window: len(window.audio)):
        batch: list[_Window] = []
        for window in run:
            batch.append(window)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
