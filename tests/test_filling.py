"""The decoder that fills in the spectrum: same sound however events are cut, brighter than plain, refused elsewhere."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import small_model
from test_mdct import RATE, codec, tones

from snn_codec import decoders
from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.floor import shares
from snn_codec.models.filling import FillingDecoder
from snn_codec.models.lapped import mdct

SETTINGS = config.Filling(block=32, bands=6, width=8, blocks=1, floor_bands=4)


def with_filling(made: Codec, settings: config.Filling = SETTINGS) -> Codec:
    torch.manual_seed(0)
    module = decoders.build(settings, made)
    with torch.no_grad():
        module.output.bias.view(3, -1)[1:] = -2.0
        module.output.weight.normal_(0, 0.3)
        for block in module.blocks:
            block.narrow.weight.normal_(0, 0.3)
    made.active_decoder = decoders.decoder(settings, module.eval(), made)
    return made


def test_bands_share_every_bin_among_them():
    share = shares(28, 256, RATE)
    assert np.allclose(share.sum(0), 1) and (share.sum(1) > 0).all()
    assert np.argmax(share[0]) == 0 and np.argmax(share[-1]) == 255


def test_untrained_it_leaves_the_plain_sound_as_it_is():
    module = FillingDecoder(256, RATE, SETTINGS)
    plain = torch.from_numpy(tones(20 * 256))[None]
    filled = module(plain, torch.zeros(1, 20, 64), torch.zeros(1, 1), torch.randn(1, 20, 256))
    assert (filled - plain).square().mean() < 1e-4


@pytest.mark.parametrize("settings", [SETTINGS, dataclasses.replace(SETTINGS, blocks=4, spread=3)])
def test_the_same_events_give_the_same_sound_however_they_are_cut(settings, monkeypatch):
    """Chunk by chunk, as all at once in one window, but for the ends, where there is no margin."""
    monkeypatch.setattr("snn_codec.codec.TOGETHER", 1)
    made = with_filling(codec(), settings)
    events = made.encode(tones(48 * 256), RATE, level=10)
    events = events.replace(loudness=np.full_like(events.loudness, 150))
    chunked = made.decode(events)
    level = made.level_tensor(np.repeat(events.levels, 16)[None])
    inputs = made.dequantise(torch.from_numpy(events.events[None].astype(np.float32)), level)
    with torch.no_grad():
        whole = made.active_decoder(inputs, 0, lambda x: made.synthesise(x, level), level)[0].numpy()
    assert np.allclose(chunked, whole * 10 ** ((150 - 160) / 20), atol=1e-6)


def test_noise_stays_out_of_bins_that_have_events():
    module = FillingDecoder(256, RATE, SETTINGS)
    with torch.no_grad():
        module.output.bias.view(3, -1).copy_(torch.tensor([[-16.0], [0.0], [-16.0]]))
    read = torch.zeros(1, 20, 64)
    read[..., 20:40] = 1.0
    filled = module(torch.full((1, 20 * 256), 1e-3), read, torch.zeros(1, 1), torch.randn(1, 20, 256))
    power = mdct(filled, 256).square().mean((0, 1))
    assert power[24:36].mean() < 0.1 * power[44:64].mean()


def test_the_seed_chooses_the_noise():
    made = with_filling(codec())
    events = made.encode(tones(20 * 256), RATE, level=10)
    first = made.decode(events)
    assert np.array_equal(first, made.decode(events))
    made.active_decoder.sampling = decoders.Sampling(seed=1)
    assert not np.allclose(first, made.decode(events))
    made.active_decoder.sampling.check("filling", made.active_decoder.takes)
    with pytest.raises(UserError, match="the decoder filling has no steps to choose"):
        decoders.Sampling(steps=2, seed=1).check("filling", made.active_decoder.takes)


def test_a_batch_is_learned():
    torch.manual_seed(0)
    module = FillingDecoder(256, RATE, SETTINGS)
    wanted = 0.1 * torch.randn(2, 20 * 256)
    plain, noise = torch.from_numpy(tones(20 * 256))[None].expand(2, -1), torch.randn(2, 20, 256)
    floors = torch.full((2, 20, 4), 20.0)
    optimiser = torch.optim.Adam(module.parameters(), 0.003)
    losses = []
    for _ in range(80):
        spectra = [
            torch.stft(x, 256, window=torch.hann_window(256), return_complex=True).abs()
            for x in (module(plain, torch.zeros(2, 20, 64), torch.zeros(2, 1), noise, floors), wanted)
        ]
        loss = torch.log(spectra[0] + 1e-2).sub(torch.log(spectra[1] + 1e-2)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_other_codecs_are_refused():
    with pytest.raises(UserError, match="needs a codec of kind mdct, and this one is spectral"):
        decoders.build(SETTINGS, Codec(small_model()))
