"""The codec: encoder, bottleneck and decoder, composed; audio to events and back.

Long audio is cut on one canonical grid of chunks (`events.CHUNK_STEPS`). Each chunk is computed from its own
samples and `context_steps` steps borrowed on both sides, at the gain of `snn_codec.loudness`. Whole recordings,
streams and folders all run these same windows, so they give the same events. The spectral networks see no
further than the context, so their output is that of the whole recording in one piece; the LSTM of SEANet
could see further, and is cut there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from snn_codec import checkpoints, decoders, loudness
from snn_codec import settings as config
from snn_codec.audio import resampled
from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS, Builder, EventMatrix, steps_for
from snn_codec.files import replacing
from snn_codec.levels import Prompts, numbers, valid
from snn_codec.models.conformer import ConformerStack
from snn_codec.models.spiking import SpikingBottleneck
from snn_codec.search import Search, searched
from snn_codec.storage.entropy_model import FILE_NAME as ENTROPY_FILE
from snn_codec.storage.entropy_model import EntropyModel
from snn_codec.weights import digest, pack, unpack


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
        entropy_model: The entropy model of this checkpoint's events (`snn_codec.storage.entropy_model`), which makes
            bitstreams shorter; None if none was trained.
        active_decoder: The decoder to decode with instead of its own (`snn_codec.decoders`), if any.
        decoders: Names of those in its checkpoint.

    Raises:
        UserError: Settings that contradict each other.
    """

    def __init__(self, model: config.Model):
        super().__init__()
        self.settings = model
        self.entropy_model: EntropyModel | None = None
        self.active_decoder: decoders.Decoder | None = None
        self.decoders: tuple[str, ...] = (decoders.PLAIN,)
        self.encoder = model.encoder.build_encoder(model)
        self.before = ConformerStack(model.encoder.width, model.levels, model.conformer)
        self.bottleneck = model.bottleneck.build_bottleneck(model)
        self.after = ConformerStack(model.encoder.width, model.levels, model.conformer)
        self.decoder = model.decoder.build_decoder(model)

    def forward(self, audio: Tensor, level: Tensor | None = None) -> Output:
        """Normalised audio `[batch, samples]`, levels `[batch, 1]` or None -> what the training loss needs."""
        features = self.before(self.encoder(audio), level)
        quantised, spikes, residual = self.bottleneck(features)
        return Output(self.decoder(self.after(quantised, level))[:, : audio.shape[-1]], spikes, residual)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Batch norm by running statistics inside the block, whatever mode the codec is in."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for the weights and settings; events carry them."""
        return digest(config.identity(self.settings), self.state_dict())

    def encode(
        self,
        audio: np.ndarray,
        sample_rate: int,
        *,
        level: float | np.ndarray | None = None,
        batch_size: int = 1,
        search: int = 0,
    ) -> EventMatrix:
        """Audio as events.

        Args:
            audio: float `[samples]`, or `[samples, channels]`, whose mean is coded.
            sample_rate: Of `audio`, in Hz; other rates than the codec's are resampled.
            level: The compression level of a model that has levels (mu-SPARSE), in eighths from 0, the
                most events, to `levels` - 1; or codes of each chunk's level as `EventMatrix.levels` has
                them. A quarter of the way up if not given.
            batch_size: Chunks computed at once; more than one pays on a GPU.
            search: Steps of the search for better events (`snn_codec.search`); 0 takes the encoder's. A search has
                one chunk at a time.

        Raises:
            UserError: No samples, not float, more than two dimensions, or not finite; no such level; no such search.
        """
        return self.encode_blocks(
            [np.asarray(audio)], sample_rate, level=level, batch_size=batch_size, search=search
        )

    def encode_blocks(
        self,
        blocks: Iterable[np.ndarray],
        sample_rate: int,
        *,
        level: float | np.ndarray | None = None,
        batch_size: int = 1,
        search: int = 0,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> EventMatrix:
        """As `encode`, for audio that arrives in blocks of any lengths; memory is bounded but for the events.

        `progress` is called with the seconds of audio done.
        """
        codes: list[int] = []
        counted = _Counted(resampled(blocks, sample_rate, self.settings.sample_rate))
        prompts = self.prompts(level)
        builder, done = Builder(self.settings.units), 0
        if search:
            grid = windows(counted, codes, self.settings.hop, self.settings.margin_steps)
            coded = searched(Search(self, search), grid, prompts.codes)
        else:
            coded = self._coded(counted, codes, batch_size, self.bottleneck.encode, prompts)
        for spikes in coded:
            builder.append((spikes > 0.5).cpu().numpy())
            done += spikes.shape[1] * self.settings.hop
            progress(done / self.settings.sample_rate)
        return EventMatrix(
            builder.build(),
            self.settings.sample_rate,
            self.settings.hop,
            counted.samples,
            self.fingerprint,
            np.array(codes, np.uint8),
            levels=prompts.codes(len(codes)),
        )

    def prompts(self, level: float | np.ndarray | None) -> Prompts:
        """What to prompt each chunk with.

        Raises:
            UserError: Not a level of this model.
        """
        return Prompts(self.settings.levels, level)

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

        coded = self._coded(blocks, [], 1, membrane, self.prompts(None))
        return np.concatenate([part.cpu().numpy() for part in coded], 1)

    def _coded(
        self,
        blocks: Iterable[np.ndarray],
        codes: list[int],
        batch_size: int,
        code: Callable[[Tensor], Tensor],
        prompts: Prompts,
    ) -> Iterator[Tensor]:
        """`code` of the features, `[unit, step]`, of one chunk after the other; loudness codes go to `codes`."""
        done = 0
        for batch in _batches(
            windows(blocks, codes, self.settings.hop, self.settings.margin_steps), batch_size
        ):
            audio = torch.from_numpy(np.stack([window.audio for window in batch])).to(self.device)
            level = self.level_tensor(prompts.codes(done + len(batch))[done:, None])
            with torch.inference_mode(), self.evaluating():
                coded = code(self.before(self.encoder(audio), level))
            for window, chunk in zip(batch, coded, strict=True):
                yield chunk[:, window.before : window.before + window.steps]
            done += len(batch)

    def level_tensor(self, codes: np.ndarray) -> Tensor | None:
        """Codes of levels, `[batch, step or 1]`, as the networks want them; None if the model has no levels."""
        if not codes.size:
            return None
        return torch.from_numpy(numbers(codes)).to(self.device)

    def decode(self, events: EventMatrix) -> np.ndarray:
        """Events as audio: float32 `[events.n_samples]` at `events.sample_rate`, mono.

        Raises:
            UserError: The events are not this codec's.
        """
        return np.concatenate(list(self.decode_blocks(events)))

    def decode_blocks(self, events: EventMatrix) -> Iterator[np.ndarray]:
        """As `decode`, chunk by chunk: float32 blocks of up to 256 steps, in bounded memory."""
        self._check(events)
        hop, context, tail = events.hop, self.settings.margin_steps, np.zeros(0, np.float32)
        fade = min(context, self.active_decoder.fade_steps if self.active_decoder else 0) * hop
        for start in range(0, events.n_steps, events.chunk_steps):
            stop = min(start + events.chunk_steps, events.n_steps)
            first, last = max(0, start - context), min(events.n_steps, stop + context)
            spikes = torch.from_numpy(events.window(first, last)[None].astype(np.float32)).to(self.device)
            level = self.level_tensor(np.repeat(events.levels, events.chunk_steps)[None, first:last])
            with torch.inference_mode(), self.evaluating():
                features = self.after(self.bottleneck.decode(spikes), level)
                decode = (
                    partial(self.active_decoder, first=first, plain=self.decoder)
                    if self.active_decoder
                    else self.decoder
                )
                audio = decode(features)[0].float().cpu().numpy()
            begin, end = start * hop, min(stop * hop, events.n_samples)
            gain = loudness.gain(events.loudness, events.chunk_steps * hop, begin, end)
            chunk = audio[begin - first * hop : end - first * hop]
            yield decoders.faded(tail, chunk) * gain
            tail = audio[stop * hop - first * hop :][:fade]

    def _check(self, events: EventMatrix) -> None:
        ours = self.fingerprint
        if events.fingerprint != ours:
            raise UserError(
                f"these events were made by the model {events.fingerprint or '(none)'}, "
                f"but this model is {ours}; decode with the model that encoded"
            )
        grid = (events.n_units, events.sample_rate, events.hop, len(events.loudness))
        expected = (self.settings.units, self.settings.sample_rate, self.settings.hop, events.n_chunks)
        if grid != expected:
            raise UserError(
                f"units, sample rate, hop and number of loudness codes are {grid}, where this model has {expected}"
            )
        if (len(events.levels) > 0) != (self.settings.levels > 0) or (
            self.settings.levels and not valid(events.levels, self.settings.levels)
        ):
            raise UserError(
                f"these events have {'a' if len(events.levels) else 'no'} compression level, and this model "
                f"has {self.settings.levels or 'no'} levels; decode with the model that encoded"
            )

    def save(
        self,
        path: str | Path,
        *,
        weights: Literal["float32", "float16", "int8"] = "float32",
        force: bool = False,
    ) -> None:
        """Write the checkpoint: `config.json`, `model.safetensors`, and the entropy model, in the folder `path`.

        With other `weights` than float32, matrices are rounded to float16, or to 8-bit integers with a scale for
        each row, and what only training needs is left out; the model that is loaded again is that rounded one, with
        another fingerprint.

        Raises:
            UserError: The files exist (without `force`) or cannot be written.
        """
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be made ({error.strerror})") from error
        tensors = pack(self.state_dict(), weights)
        content = {
            "fingerprint": digest(config.identity(self.settings), unpack(tensors)),
            "model": config.to_dict(self.settings),
        }
        with replacing(folder / "model.safetensors", force=force) as temporary:
            save_file(tensors, temporary)
        with replacing(folder / "config.json", force=force) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")
        if self.entropy_model is not None:
            self.entropy_model.save(folder / ENTROPY_FILE, force=force)

    @classmethod
    def load(
        cls,
        name: str | Path = checkpoints.DEFAULT,
        device: str | torch.device = "cpu",
        *,
        decoder: str = decoders.PLAIN,
        sampling: decoders.Sampling | None = None,
    ) -> Codec:
        """The codec in the checkpoint folder `name`, or the shipped one of that name, ready to use.

        `decoder` is the one to decode with, one of `codec.decoders`; `sampling` says how, if it samples.

        Raises:
            UserError: No such checkpoint, no such decoder in it, or a damaged one.
        """
        folder = checkpoints.find(name)
        try:
            content = json.loads((folder / "config.json").read_text())
            settings, stored = content["model"], content.get("fingerprint")
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise UserError(
                f"{folder / 'config.json'}: is damaged ({error}); get the checkpoint again"
            ) from error
        codec = cls(config.from_dict(config.Model, settings, f"{folder / 'config.json'}: model"))
        file = folder / "model.safetensors"
        try:
            codec.load_state_dict(unpack(load_file(file)))
        except (SafetensorError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{file}: is missing or damaged ({reason}); get the checkpoint again") from error
        if stored not in (None, codec.fingerprint):
            raise UserError(
                f"{file}: its weights are those of {codec.fingerprint}, but {folder / 'config.json'} is of {stored}; "
                "get the checkpoint again"
            )
        codec.entropy_model = EntropyModel.of(folder, codec.fingerprint)
        codec.decoders = (decoders.PLAIN, *decoders.listed(folder))
        codec = codec.to(device).eval()
        if decoder != decoders.PLAIN:
            codec.active_decoder = decoders.load(folder, decoder, codec, sampling)
        return codec


class _Counted:
    """Blocks, and how many samples they held so far."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks:
            self.samples += len(block)
            yield block


class Window(NamedTuple):
    """What one chunk of the canonical grid is computed from."""

    audio: np.ndarray  # normalised float32, this chunk and its context
    before: int  # steps of context in front
    steps: int  # steps of the chunk itself


def windows(blocks: Iterable[np.ndarray], codes: list[int], hop: int, context: int) -> Iterator[Window]:
    """Cut audio into the windows of the canonical grid; append each chunk's loudness code to `codes`.

    A chunk's gain depends on the loudness of both neighbours, so a window comes when the next chunk is full.
    """
    size, margin = CHUNK_STEPS * hop, context * hop
    buffer, offset, index = np.zeros(0, np.float32), 0, 0  # buffer[0] is sample `offset` of the recording

    def window(stop: int) -> Window:
        first, last = max(0, index * size - margin), min(stop, (index + 1) * size + margin)
        gain = loudness.gain(np.array(codes, np.uint8), size, first, last)
        steps = steps_for(min(stop, (index + 1) * size) - index * size, hop)
        return Window(
            _whole_steps(buffer[first - offset : last - offset] / gain, hop),
            (index * size - first) // hop,
            steps,
        )

    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while offset + len(buffer) >= (len(codes) + 1) * size:
            start = len(codes) * size - offset
            codes.append(loudness.measure(buffer[start : start + size], hop))
            if len(codes) > 1 and offset + len(buffer) >= (index + 1) * size + margin:
                yield window((index + 1) * size + margin)
                index += 1
                drop = max(0, index * size - margin - offset)
                buffer, offset = buffer[drop:], offset + drop
    stop = offset + len(buffer)
    if stop > len(codes) * size:
        codes.append(loudness.measure(buffer[len(codes) * size - offset :], hop))
    while index < len(codes):
        yield window(stop)
        index += 1


def _whole_steps(audio: np.ndarray, hop: int) -> np.ndarray:
    return np.pad(audio, (0, -len(audio) % hop))


def _batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    """Runs of at most `size` windows of equal length."""
    for _, run in groupby(windows, key=lambda window: len(window.audio)):
        batch: list[Window] = []
        for window in run:
            batch.append(window)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
