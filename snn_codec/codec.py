"""The codec: audio to events and back.

Long audio is cut on one canonical grid of chunks (`snn_codec.chunks`), so that whole recordings, streams and folders
give the same events. The spectral networks see no further than a chunk's margins, so their output is that of the whole
recording in one piece; the LSTM of SEANet could see further, and is cut there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snn_codec import decoders, loudness
from snn_codec.audio import resampled
from snn_codec.checkpoints import DEFAULT, PLAIN, Checkpoint, Weights
from snn_codec.chunks import Grid, Window, batches, spans, windows
from snn_codec.errors import UserError
from snn_codec.events import Builder, EventMatrix
from snn_codec.levels import Prompts, valid
from snn_codec.models.network import Network, level_of
from snn_codec.search import Search, searched
from snn_codec.settings import Model
from snn_codec.storage.entropy_model import EntropyModel


class Spikes(NamedTuple):
    """A batch of events: spikes, float32 0 or 1 `[batch, unit, step]`, and loudness, uint8 `[batch, chunk]`."""

    spikes: Tensor
    loudness: Tensor


class Codec(Network):
    """A network with what is needed to code whole recordings with it.

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

    def __init__(self, model: Model):
        super().__init__(model)
        self.entropy_model: EntropyModel | None = None
        self.active_decoder: decoders.Decoder | None = None
        self.decoders: tuple[str, ...] = (PLAIN,)

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
            level: The sparsity level of a model that has levels (mu-SPARSE), in eighths from 0, the
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
        counted = _Counted(resampled(blocks, sample_rate, self.settings.sample_rate))
        grid, prompts = Grid.of(self.settings), self.prompts(level)
        if search:
            coded = searched(Search(self, search, self.entropy_model), windows(counted, grid), prompts.codes)
        else:
            coded = self._coded(counted, batch_size, self.quantise, prompts)
        builder, codes, done = Builder(self.settings.units), [], 0
        for window, spikes in coded:
            builder.append((spikes > 0.5).cpu().numpy())
            codes.append(window.loudness)
            done += window.steps * grid.hop
            progress(done / self.settings.sample_rate)
        return EventMatrix(
            builder.build(),
            self.settings.sample_rate,
            grid.hop,
            counted.samples,
            fingerprint=self.fingerprint,
            loudness=np.array(codes, np.uint8),
            levels=prompts.codes(len(codes)),
            chunk_steps=grid.chunk_steps,
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
        if not hasattr(self.bottleneck, "encode_with_membrane"):
            raise UserError(f"a bottleneck of kind {self.settings.bottleneck.kind} has no membranes")
        blocks = resampled([np.asarray(audio)], sample_rate, self.settings.sample_rate)

        def membrane(features: Tensor, level: Tensor | None) -> Tensor:
            given = level_of(self.settings.bottleneck, level)
            return self.bottleneck.encode_with_membrane(features, **given)[1]

        coded = self._coded(blocks, 1, membrane, self.prompts(None))
        return np.concatenate([part.cpu().numpy() for _, part in coded], 1)

    def _coded(
        self,
        blocks: Iterable[np.ndarray],
        batch_size: int,
        code: Callable[[Tensor, Tensor | None], Tensor],
        prompts: Prompts,
    ) -> Iterator[tuple[Window, Tensor]]:
        """Each window, and `code` of its features in the steps of the chunk, `[unit, step]`."""
        done = 0
        for batch in batches(windows(blocks, Grid.of(self.settings)), batch_size):
            audio = torch.from_numpy(np.stack([window.audio for window in batch])).to(self.device)
            level = self.level_tensor(prompts.codes(done + len(batch))[done:, None])
            with torch.inference_mode(), self.evaluating():
                coded = code(self.analyse(audio, level), level)
            for window, chunk in zip(batch, coded, strict=True):
                yield window, chunk[:, window.before : window.before + window.steps]
            done += len(batch)

    def decode(self, events: EventMatrix) -> np.ndarray:
        """Events as audio: float32 `[events.n_samples]` at `events.sample_rate`, mono.

        Raises:
            UserError: The events are not this codec's.
        """
        return np.concatenate(list(self.decode_blocks(events)))

    def decode_blocks(self, events: EventMatrix) -> Iterator[np.ndarray]:
        """As `decode`, chunk by chunk: float32 blocks of up to a chunk's steps, in bounded memory."""
        self._check(events)
        grid, tail = Grid.of(self.settings), np.zeros(0, np.float32)
        hop = grid.hop
        fade = min(grid.margin_steps, self.active_decoder.fade_steps if self.active_decoder else 0) * hop
        for span in spans(events.n_steps, grid):
            spikes = events.window(span.first, span.last)[None].astype(np.float32)
            codes = np.repeat(events.levels, grid.chunk_steps)[None, span.first : span.last]
            with torch.inference_mode(), self.evaluating():
                sound = self._sound(
                    torch.from_numpy(spikes).to(self.device), self.level_tensor(codes), span.first
                )
            audio = sound[0].float().cpu().numpy()
            begin, end = span.start * hop, min(span.stop * hop, events.n_samples)
            gain = loudness.gain(events.loudness, grid.chunk_steps * hop, begin, end)
            chunk = audio[begin - span.first * hop : end - span.first * hop]
            yield decoders.faded(tail, chunk) * gain
            tail = audio[(span.stop - span.first) * hop :][:fade]

    def _sound(self, spikes: Tensor, level: Tensor | None, first: int = 0) -> Tensor:
        """Audio `[batch, step * hop]` of spikes, by the decoder that is active; `first` is the first one's step."""
        inputs, plain = self.dequantise(spikes, level), partial(self.synthesise, level=level)
        return self.active_decoder(inputs, first, plain, level) if self.active_decoder else plain(inputs)

    def _check(self, events: EventMatrix) -> None:
        ours = self.fingerprint
        if events.fingerprint != ours:
            raise UserError(
                f"these events were made by the model {events.fingerprint or '(none)'}, "
                f"but this model is {ours}; decode with the model that encoded"
            )
        model = self.settings
        grid = (events.n_units, events.sample_rate, events.hop, events.chunk_steps, len(events.loudness))
        expected = (model.units, model.sample_rate, model.hop, model.chunk_steps, events.n_chunks)
        if grid != expected:
            raise UserError(
                f"units, sample rate, hop, steps a chunk and number of loudness codes are {grid}, where this model "
                f"has {expected}"
            )
        if (len(events.levels) > 0) != (model.levels > 0) or (
            model.levels and not valid(events.levels, model.levels)
        ):
            raise UserError(
                f"these events have {'a' if len(events.levels) else 'no'} level, and this model "
                f"has {model.levels or 'no'} levels; decode with the model that encoded"
            )

    def spikes(self, audio: Tensor, *, level: float | Tensor | None = None) -> Spikes:
        """A batch of audio as events, differentiable, on the audio's device.

        Gradients go through the surrogate of the neurons and the networks; loudness, which is measured and quantised
        chunk by chunk as in `encode`, has none. All steps are computed at once, so memory grows with the length.

        Args:
            audio: float `[batch, samples]`, or `[batch, channel, samples]`, whose mean is coded, at the codec's rate.
            level: Of a model that has levels: one, or `[batch]`; a quarter of the way up if not given.

        Raises:
            UserError: Another shape, or no such level.

        Example:
            spikes, loudness = codec.spikes(audio)
            sound = codec.audio(spikes, loudness, samples=audio.shape[-1])
        """
        mono = audio.mean(1) if audio.ndim == 3 else audio
        if mono.ndim != 2 or not mono.numel() or not mono.is_floating_point():
            raise UserError(
                f"audio must be float [batch, channel, samples], not {audio.dtype} {list(audio.shape)}"
            )
        grid, samples = Grid.of(self.settings), mono.shape[-1]
        whole = mono.detach().cpu().float().numpy()
        size = grid.chunk_steps * grid.hop
        codes = torch.tensor(
            [
                [loudness.measure(x[at : at + size], grid.hop) for at in range(0, samples, size)]
                for x in whole
            ],
            dtype=torch.uint8,
        )
        normal = mono / self._gain(codes, samples).to(mono)
        normal = torch.nn.functional.pad(normal, (0, -samples % grid.hop))
        chosen = self._levels(level, len(mono))
        return Spikes(self.quantise(self.analyse(normal, chosen), chosen), codes.to(mono.device))

    def audio(
        self,
        spikes: Tensor,
        loudness: Tensor,
        *,
        level: float | Tensor | None = None,
        samples: int | None = None,
    ) -> Tensor:
        """What `spikes` gives as audio, `[batch, 1, samples]`, differentiable, on the spikes' device.

        Args:
            spikes: `[batch, unit, step]`.
            loudness: uint8 `[batch, chunk]`.
            level: As in `spikes`.
            samples: How many there were; all of the steps' if not given.

        Raises:
            UserError: Shapes that do not fit, or no such level.
        """
        grid = Grid.of(self.settings)
        steps = spikes.shape[-1] if spikes.ndim == 3 else 0
        expected = (len(spikes), -(-steps // grid.chunk_steps))
        if not steps or spikes.shape[1] != self.settings.units or tuple(loudness.shape) != expected:
            raise UserError(
                f"spikes must be [batch, {self.settings.units}, steps] with a loudness for each chunk of "
                f"{grid.chunk_steps} steps, not {list(spikes.shape)} with {list(loudness.shape)}"
            )
        sound = self._sound(spikes, self._levels(level, len(spikes)))[:, :samples]
        return (sound * self._gain(loudness.cpu(), sound.shape[-1]).to(sound)).unsqueeze(1)

    def _gain(self, codes: Tensor, samples: int) -> Tensor:
        """The gain of loudness codes `[batch, chunk]`, `[batch, samples]`."""
        size = self.settings.chunk_steps * self.settings.hop
        return torch.from_numpy(np.stack([loudness.gain(row, size, 0, samples) for row in codes.numpy()]))

    def _levels(self, level: float | Tensor | None, batch: int) -> Tensor | None:
        """Levels as the networks want them, `[batch, 1]`, in eighths."""
        values = torch.as_tensor(np.nan if level is None else level).expand(batch).tolist()
        codes = [self.prompts(None if np.isnan(value) else value).codes(1) for value in values]
        return self.level_tensor(np.stack(codes))

    def save(self, path: str | Path, *, weights: Weights = "float32", force: bool = False) -> None:
        """Write the checkpoint (`snn_codec.checkpoints`), without further decoders, to the folder `path`.

        With other `weights` than float32, matrices are rounded to float16, or to 8-bit integers with a scale for
        each row, and what only training needs is left out; the model that is loaded again is that rounded one, with
        another fingerprint.

        Raises:
            UserError: The files exist (without `force`) or cannot be written.
        """
        Checkpoint(Path(path)).save_codec(
            self.settings, self.state_dict(), self.entropy_model, weights=weights, force=force
        )

    @classmethod
    def load(
        cls,
        name: str | Path = DEFAULT,
        device: str | torch.device = "cpu",
        *,
        decoder: str = PLAIN,
        sampling: decoders.Sampling | None = None,
    ) -> Codec:
        """The codec in the checkpoint folder `name`, or the shipped one of that name, ready to use.

        `decoder` is the one to decode with, one of `codec.decoders`; `sampling` says how, if it samples.

        Raises:
            UserError: No such checkpoint, no such decoder in it, a damaged one, or no such device.
        """
        checkpoint = Checkpoint.find(name)
        codec = cls(checkpoint.settings)
        checkpoint.load_codec(codec)
        codec.entropy_model = checkpoint.entropy_model
        codec.decoders = (PLAIN, *checkpoint.decoders)
        try:
            codec = codec.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"device {device}: cannot be used here ({reason}); use the device cpu") from error
        if decoder != PLAIN:
            codec.active_decoder = decoders.load(checkpoint.folder, decoder, codec, sampling)
        return codec

    from_pretrained = load  # the name that users of hubs know


class _Counted:
    """Blocks, and how many samples they held so far."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks:
            self.samples += len(block)
            yield block
