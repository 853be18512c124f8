import numpy as np
import pytest
import torch
from conftest import SMALL, tones

from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.models.mel import MelBottleneck, area_one_filters

MODEL = config.Model(
    units=128,
    encoder=config.Mel(channels=4, width=16),
    bottleneck=config.MelBits(),
    decoder=SMALL,
    margin_steps=8,
)


def test_bits_are_the_numbers():
    """Every float32 that is finite comes back as it was, through 32 units a channel."""
    bottleneck = MelBottleneck(16, 64, config.MelBits())
    bottleneck.project = torch.nn.Identity()
    values = torch.tensor([[[0.0, -0.0], [1.5, -2.25e-30], [3.4e38, -1e-45]]])
    bits = bottleneck.encode(values)
    assert bits.shape == (1, 64, 3) and set(bits.unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(bottleneck.decode(bits), values, rtol=0, atol=0)
    assert [int(bit) for bit in bits[0, :32, 1]] == [
        int(bit) for bit in f"{np.float32(1.5).view(np.uint32):032b}"
    ]


def test_bits_of_no_number_are_silence():
    bottleneck = MelBottleneck(16, 32, config.MelBits())
    bottleneck.project = torch.nn.Identity()
    assert bottleneck.decode(torch.ones(1, 32, 2)).tolist() == [[[0.0], [0.0]]]


def test_filters_cover_their_band_and_find_a_tone():
    bank = area_one_filters(32, 2048, 22050, 11025.0)
    torch.testing.assert_close(bank.sum(1), torch.ones(32))
    sound = np.sin(2 * np.pi * 1000 * np.arange(22050) / 22050).astype(np.float32)
    encoder = Codec(config.Model(units=1024, encoder=config.Mel(), bottleneck=config.MelBits())).encoder
    loudest = encoder(torch.from_numpy(sound[None]))[0, 20].argmax()
    centre = 700 * (10 ** ((loudest.item() + 1) / 33 * 2595 * np.log10(1 + 11025 / 700) / 2595) - 1)
    assert 900 < centre < 1100


def test_a_codec_of_it_encodes_and_decodes_as_in_training():
    torch.manual_seed(0)
    codec = Codec(MODEL).eval()
    sound = tones(1.0)[: 40 * 512]
    events = codec.encode(sound, 22050)
    assert events.n_units == 128 and codec.decode(events).shape == sound.shape
    features = codec.encoder(torch.from_numpy(sound[None] / np.abs(sound).max()))
    quantised, bits, _ = codec.bottleneck(features)
    torch.testing.assert_close(codec.bottleneck.decode(bits), quantised)


@pytest.mark.parametrize(
    "change",
    [{"bottleneck": config.Spiking()}, {"encoder": SMALL}, {"units": 96}, {"levels": 2},
     {"conformer": config.Conformer(layers=1)}],
)  # fmt: skip
def test_parts_that_do_not_go_together_are_errors(change):
    import dataclasses

    with pytest.raises(UserError, match="mel"):
        Codec(dataclasses.replace(MODEL, **change))
