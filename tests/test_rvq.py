import numpy as np
import pytest
import torch
from conftest import small_model, tones

from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.storage import spk

pytest.importorskip("vector_quantize_pytorch")
from snn_codec.models.rvq import ResidualVectorQuantiser  # noqa: E402

SMALL = config.RVQ(codebooks=4, codes=16)


def quantiser(batches=30):
    """A quantiser of 8 dimensions whose codebooks have seen data."""
    torch.manual_seed(0)
    made = ResidualVectorQuantiser(8, 16, SMALL)
    for _ in range(batches):
        made(torch.randn(4, 50, 8))
    return made.eval()


def test_bits_are_the_indices_most_significant_first():
    made, features = quantiser(), torch.randn(3, 20, 8)
    _, indices, _ = made.quantiser(features)
    bits = made.encode(features)
    assert bits.shape == (3, 16, 20)
    for codebook in range(4):
        digits = bits[:, 4 * codebook : 4 * codebook + 4].long()
        value = digits[:, 0] * 8 + digits[:, 1] * 4 + digits[:, 2] * 2 + digits[:, 3]
        assert torch.equal(value, indices[..., codebook])


def test_decoding_sums_the_codes_and_each_codebook_helps():
    made, features = quantiser(), torch.randn(3, 20, 8)
    quantised, spikes, residual = made(features)
    torch.testing.assert_close(made.decode(spikes), quantised)
    torch.testing.assert_close(residual, (features - quantised).square().sum() / features.square().sum())
    codes = made.quantiser.get_codes_from_indices(made.quantiser(features)[1])
    rests = [(features - codes[:k].sum(0)).square().sum().item() for k in range(5)]
    assert rests == sorted(rests, reverse=True) and rests[4] < 0.3 * rests[0]


def test_weights_load_whatever_the_shape_of_scalars():
    made, other = quantiser(), ResidualVectorQuantiser(8, 16, SMALL)
    scalars = [value for value in made.state_dict().values() if value.numel() == 1]
    assert scalars
    for shape in ([], [1]):
        other.load_state_dict(
            {
                name: value.reshape(shape) if value.numel() == 1 else value
                for name, value in made.state_dict().items()
            }
        )
        features = torch.randn(3, 20, 8)
        assert torch.equal(other.eval().encode(features), made.encode(features))


def test_every_pattern_of_bits_decodes():
    made = quantiser()
    bits = (torch.rand(2, 16, 30) < 0.5).float()
    decoded = made.decode(bits)
    assert decoded.shape == (2, 30, 8) and torch.isfinite(decoded).all()
    other = bits.clone()
    other[0, 3, 7] = 1 - other[0, 3, 7]
    changed = (made.decode(other) != decoded).any(-1)
    assert changed[0, 7] and changed.sum() == 1


def test_gradients_pass_straight_through_and_draw_features_to_codes():
    made = quantiser().train()
    features = torch.randn(2, 10, 8, requires_grad=True)
    quantised, _, residual = made(features)
    (straight,) = torch.autograd.grad(quantised.sum(), features, retain_graph=True)
    torch.testing.assert_close(straight, torch.ones_like(features))
    (pull,) = torch.autograd.grad(residual, features)
    torch.testing.assert_close(
        pull, 2 * (features - quantised.detach()).detach() / features.detach().square().sum()
    )


@pytest.mark.parametrize(
    ("settings", "units", "words"),
    [(config.RVQ(codes=1000), 80, "power of two"), (config.RVQ(), 40, "80 bits, but the model has 40 units")],
)
def test_settings_that_contradict_are_refused(settings, units, words):
    with pytest.raises(UserError, match=words):
        ResidualVectorQuantiser(8, units, settings)


def test_a_codec_with_it_is_a_codec(tmp_path):
    torch.manual_seed(0)
    codec = Codec(small_model(units=16, bottleneck=SMALL))
    for _ in range(5):
        codec(torch.randn(4, 32 * 512))
    codec.eval().save(tmp_path / "rvq")
    codec, sound = Codec.load(tmp_path / "rvq"), tones(13.0)
    events = codec.encode(sound, 22050)
    assert events.events.shape == (16, 560)
    assert codec.encode_blocks(np.array_split(sound, 7), 22050) == events
    spk.write(tmp_path / "a.spk", events)
    decoded = codec.decode(spk.read(tmp_path / "a.spk"))
    assert len(decoded) == len(sound) and np.isfinite(decoded).all() and decoded.any()
    with pytest.raises(UserError, match="kind rvq has no membranes"):
        codec.membranes(sound, 22050)


def test_integers_of_its_events_are_the_indices_of_its_codebooks():
    made, features = quantiser(), torch.randn(1, 30, 8)
    _, indices, _ = made.quantiser(features)
    events = EventMatrix(made.encode(features)[0].numpy() > 0.5, 22050, 512, 30 * 512)
    np.testing.assert_array_equal(events.to_integers(bits=made.bits), indices[0])
