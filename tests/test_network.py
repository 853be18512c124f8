"""Parts of a network from outside of the package: each is a dataclass of settings and the network that it names."""

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch
from conftest import SMALL, small_model, tones
from torch import nn

from snn_codec import settings
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.metrics import si_snr
from snn_codec.models.network import Network
from snn_codec.rate_control import at_rate

HOP = 64


@dataclasses.dataclass(frozen=True)
class Block(settings.Encoder, settings.Decoder):
    """A frame of samples as features, and back."""

    encoder_network = "test_network:BlockEncoder"
    decoder_network = "test_network:BlockDecoder"

    kind: Literal["block"] = "block"
    width: int = settings.setting(HOP, "size of the features, the hop", least=1)
    gain: float = settings.setting(1.0, "of the features", above=0)

    def check_model(self, model):
        if model.hop != self.width:
            raise UserError(f"blocks have the width of the hop, {model.hop}, not {self.width}")


class BlockEncoder(nn.Module):
    def __init__(self, hop, part):
        super().__init__()
        self.hop, self.gain = hop, nn.Parameter(torch.tensor(part.gain))

    def forward(self, audio):
        return self.gain * audio.unflatten(-1, (-1, self.hop))


class BlockDecoder(nn.Module):
    def __init__(self, hop, part):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1 / part.gain))

    def forward(self, features):
        return self.gain * features.flatten(1)


@dataclasses.dataclass(frozen=True)
class Ladder(settings.Bottleneck):
    """Each feature drives two units of each sign, at rising thresholds in steps that the level scales."""

    bottleneck_network = "test_network:LadderNetwork"
    takes_level = True

    kind: Literal["ladder"] = "ladder"
    step: float = settings.setting(0.05, "threshold of the first unit at level 0", above=0)


class LadderNetwork(nn.Module):
    def __init__(self, width, units, part):
        super().__init__()
        assert units == 4 * width
        self.step = nn.Parameter(torch.tensor(part.step))

    def steps(self, level):
        return self.step * 2 ** (level / 4).unsqueeze(-1)

    def encode(self, features, level):
        scaled = features / self.steps(level)
        return (
            torch.cat([sign * scaled > number for sign in (1, -1) for number in (1, 2)], -1)
            .transpose(1, 2)
            .float()
        )

    def decode(self, spikes, level):
        one, two, minus, minus_two = spikes.transpose(1, 2).chunk(4, -1)
        return self.steps(level) * 1.25 * (one + two - minus - minus_two)

    def forward(self, features, level):
        spikes = self.encode(features, level)
        quantised = self.decode(spikes, level)
        return quantised, spikes, (features - quantised).square().mean()


@dataclasses.dataclass(frozen=True)
class Direct(settings.Decoder):
    """Reads sound off the events themselves."""

    decoder_network = "test_network:DirectDecoder"
    takes_level = takes_spikes = True

    kind: Literal["direct"] = "direct"
    width: int = settings.setting(HOP, "as the encoder's", least=1)

    def build_decoder(self, model):
        return DirectDecoder(model.bottleneck.step)


class DirectDecoder(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.read = LadderNetwork(1, 4, Ladder(step=step))

    def forward(self, spikes, level):
        return self.read.decode(spikes, level).flatten(1)


def model(**changes):
    given = {"encoder": Block(gain=2.0), "bottleneck": Ladder(step=0.4), "decoder": Block(gain=2.0)}
    return settings.Model(
        hop=HOP, units=4 * HOP, chunk_steps=32, margin_steps=4, levels=32, **(given | changes)
    )


@pytest.fixture(scope="module", params=["features", "spikes"])
def codec(request):
    decoder = Block(gain=2.0) if request.param == "features" else Direct()
    encoder = Block(gain=2.0 if request.param == "features" else 1.0)
    return Codec(model(encoder=encoder, decoder=decoder)).eval()


def test_parts_from_outside_make_a_codec(codec, tmp_path):
    sound = tones(2.0)
    codec.save(tmp_path / "mine")
    loaded = Codec.load(tmp_path / "mine")
    assert loaded.settings == codec.settings and loaded.fingerprint == codec.fingerprint
    events = loaded.encode(sound, 22050, level=0)
    assert (events.hop, events.chunk_steps, events.n_units) == (HOP, 32, 4 * HOP)
    assert events.n_chunks == -(-events.n_steps // 32) > 20
    assert si_snr(codec.decode(events), sound) > 5
    blocks = np.array_split(sound, 7)
    assert loaded.encode_blocks(blocks, 22050, level=0, batch_size=5) == events


def test_a_level_scales_the_steps_of_a_quantiser(codec):
    sound = tones(2.0)
    counts = [codec.encode(sound, 22050, level=level).n_events for level in (0, 4, 8, 8.125)]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 4
    found = at_rate(codec, lambda: [sound], 22050, 30.0)
    assert found.kbps == pytest.approx(30.0, rel=0.05)
    assert not any("prompt" in name for name in codec.state_dict())


def test_level_and_events_reach_the_parts_in_training(codec):
    audio = torch.from_numpy(tones(0.5)[None, : 32 * HOP]) * 20
    quiet, loud = (codec(audio, torch.tensor([[level]])) for level in (24.0, 0.0))
    assert quiet.spikes.sum() < loud.spikes.sum()
    assert torch.isfinite(loud.audio).all() and loud.audio.shape == audio.shape


def test_spikes_at_several_levels_are_those_of_each(codec):
    audio = torch.from_numpy(tones(0.5)[None, : 32 * HOP]) * 20
    levels = torch.tensor([[0.0], [6.5], [31.0]])
    several = codec.spikes_at(audio)(levels)
    for one, level in zip(several, levels, strict=True):
        assert torch.equal(one, codec.quantise(codec.analyse(audio, level[None]), level[None])[0])


def test_parts_say_what_they_need_of_the_model():
    with pytest.raises(UserError, match="width of the hop, 32, not 64"):
        dataclasses.replace(model(), hop=32)
    with pytest.raises(UserError, match="Ladder.step: must be above 0"):
        Ladder(step=0)
    names = {"model.bottleneck.step": "ladder", "model.encoder.gain": "block"}
    listed = {row.key: row.kind for row in settings.list_settings()}
    assert names.items() <= listed.items()
    changes = ["model.bottleneck.kind=ladder", "model.bottleneck.step=0.3"]
    assert settings.load("cpu-free", changes).model.bottleneck == Ladder(step=0.3)


def test_an_embedding_is_there_for_parts_that_take_no_level():
    network = Network(small_model(levels=4, bottleneck=settings.Spiking(groups=1)))
    assert network.before.prompt.shape == network.after.prompt.shape == (4, SMALL.width)
