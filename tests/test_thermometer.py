"""A thermometer's units fire as coefficients pass thresholds, and their layout can be inverted."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from snn_codec.errors import UserError
from snn_codec.models.thermometer import Thermometer
from snn_codec.thermometer import Layout, levels

EDGES, COUNTS = (4, 7), (3, 2)
SETTINGS = SimpleNamespace(
    edges=EDGES, thresholds=COUNTS, uniform=2, ratio=1.5, scales=3, surrogate="fast_sigmoid", slope=2.0
)


def test_units_are_ordered_by_bin_then_sign_then_threshold():
    layout = Layout(EDGES, COUNTS)
    assert layout.units == 2 * (4 * 3 + 3 * 2)
    assert layout.bin[:7].tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert layout.sign[:6].tolist() == [1, 1, 1, -1, -1, -1]
    assert layout.threshold[:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert layout.bin[-1] == 6 and layout.sign[-1] == -1 and layout.threshold[-1] == 1


@given(arrays(np.int16, (3, 7), elements=st.integers(-2, 2)))
@settings(max_examples=30, deadline=None)
def test_magnitudes_and_events_are_each_others_inverse(signed):
    layout = Layout(EDGES, COUNTS)
    events = layout.events(signed)
    assert np.count_nonzero(events) == np.abs(signed).sum()
    assert np.array_equal(layout.magnitudes(events), signed)
    step, unit = layout.indices(signed)
    assert np.array_equal(np.stack(np.nonzero(events.T)), np.stack([step, unit]))


def test_events_that_no_coefficient_makes_have_no_magnitudes():
    layout = Layout(EDGES, COUNTS)
    for units in ([1], [0, 3], [0, 2]):  # a threshold without the one below; both signs; a gap
        events = np.zeros((layout.units, 2), bool)
        events[units, 1] = True
        assert layout.magnitudes(events) is None


def test_magnitudes_beyond_the_last_threshold_stay_there():
    layout = Layout(EDGES, COUNTS)
    signed = np.zeros((1, 7), np.int16)
    signed[0, 6] = -9
    assert layout.magnitudes(layout.events(signed))[0, 6] == -2


def test_levels_grow_by_one_and_then_by_the_ratio():
    assert levels(6, 3, 1.5).tolist() == [1, 2, 3, 4.5, 6.75, 10.125]
    assert levels(3, 8, 1.1).tolist() == [1, 2, 3]


def test_a_unit_fires_when_its_coefficient_passes_its_threshold():
    bottleneck = Thermometer(7, 36, SETTINGS)
    features = torch.tensor([0.5, 0.7, -1.6, 40.0, -40.0, 0.0, 1.2]).view(1, 1, 7)
    events = bottleneck.encode(features)[0].detach().numpy() > 0.5
    assert bottleneck.layout.magnitudes(events)[0].tolist() == [0, 1, -2, 3, -2, 0, 1]


def test_it_is_the_papers_bottleneck_with_one_entry_a_row():
    """`z = H(BN(L x))` by a dense L and a batch norm with fixed statistics gives the same events."""
    torch.manual_seed(0)
    bottleneck = Thermometer(7, 36, SETTINGS)
    with torch.no_grad():
        bottleneck.log_scale.normal_(0, 0.2)
    features = 3 * torch.randn(2, 5, 7)
    dense = torch.zeros(bottleneck.layout.units, 7)
    dense[torch.arange(len(dense)), bottleneck.unit_bin] = bottleneck.unit_sign.float()
    norm = torch.nn.BatchNorm1d(len(dense), eps=0.0).eval()
    norm.weight.data, norm.bias.data = (part.detach() for part in bottleneck.norm())
    drive = norm((features @ dense.T).flatten(0, 1)).view(2, 5, -1).transpose(1, 2)
    events, membrane = bottleneck.encode_with_membrane(features)
    assert torch.allclose(membrane, drive, atol=1e-5)
    assert torch.equal(events, (membrane > 0).float())


def test_the_read_out_is_linear_in_events_and_near_the_coefficient():
    bottleneck = Thermometer(7, 36, SETTINGS)
    features = torch.linspace(-2.4, 2.4, 7).view(1, 1, 7)
    quantised, events, _ = bottleneck(features)
    assert torch.allclose(bottleneck.decode(events), quantised)
    assert (quantised - features).abs().max() < 0.7
    assert torch.allclose(bottleneck.decode(2 * events), 2 * quantised)


def test_without_gradients_the_same_is_worked_out_from_the_coefficients_that_pass():
    bottleneck = Thermometer(7, 36, SETTINGS)
    with torch.no_grad():
        bottleneck.log_scale.normal_(0, 0.2)
    features = 3 * torch.randn(2, 5, 7)
    events = bottleneck.encode(features).detach()
    expected = bottleneck.decode(events).detach()
    assert 0.2 < events.mean() < 0.8
    with torch.no_grad():
        assert torch.equal(bottleneck.encode(features), events)
        torch.testing.assert_close(bottleneck.decode(events), expected)
        torch.testing.assert_close(bottleneck.quantise(features), expected)
    places = torch.stack(bottleneck.indices(features))
    assert torch.equal(places, events.transpose(1, 2).nonzero().T)
    signed = [bottleneck.layout.magnitudes(part.numpy() > 0.5) for part in events]
    np.testing.assert_array_equal(bottleneck.magnitudes(features), np.stack(signed))
    _, step, unit = places[:, places[0] == 0]
    torch.testing.assert_close(bottleneck.decode_indices(step, unit, 5).detach(), expected[:1])


@pytest.mark.parametrize("said", [[0.5], [0.0, 1.0], [0.0, 1.0, 3.0]])
def test_scales_are_evenly_spaced_on_an_axis_of_log_bin(said):
    bottleneck = Thermometer(7, 36, SimpleNamespace(**{**vars(SETTINGS), "scales": len(said)}))
    with torch.no_grad():
        bottleneck.log_scale.copy_(torch.tensor(said))
    axis = np.log2(np.arange(7) + 16)
    between = np.interp(axis, np.linspace(axis[0], axis[-1], len(said)), said)
    np.testing.assert_allclose(bottleneck.scale().detach(), np.exp(between), rtol=1e-4)


def test_thresholds_scales_and_read_out_get_gradients():
    bottleneck = Thermometer(7, 36, SETTINGS)
    quantised, _, _ = bottleneck(torch.randn(2, 6, 7))
    (quantised - 1).square().sum().backward()
    for name, parameter in bottleneck.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_only_training_needs_the_module_of_ones_own_surrogate():
    own = Thermometer(7, 36, SimpleNamespace(**{**vars(SETTINGS), "surrogate": "nowhere_at_all:gauss"}))
    features = torch.randn(1, 3, 7, requires_grad=True)
    with torch.no_grad():
        assert own.encode(features).shape == (1, 36, 3)
    with pytest.raises(UserError, match="no module nowhere_at_all"):
        own.encode(features)


@pytest.mark.parametrize("surrogate", ["atan", "straight_through", "paper_triangle"])
def test_surrogates_change_gradients_and_no_event(surrogate):
    features = torch.randn(1, 4, 7)
    ours, other = (
        Thermometer(7, 36, SETTINGS),
        Thermometer(7, 36, SimpleNamespace(**{**vars(SETTINGS), "surrogate": surrogate})),
    )
    gradients = []
    for bottleneck in (ours, other):
        quantised, events, _ = bottleneck(features)
        (quantised - features).square().sum().backward()
        gradients.append((events.detach(), bottleneck.thresholds.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert not torch.allclose(gradients[0][1], gradients[1][1])
