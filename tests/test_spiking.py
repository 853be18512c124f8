import pytest
import torch

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.models.spiking import SpikingBottleneck


def bottleneck(width=24, units=12, seed=0, **settings):
    torch.manual_seed(seed)
    made = SpikingBottleneck(width, units, config.Spiking(**settings))
    with torch.no_grad():
        made.decode_weight += 0.1 * torch.randn_like(made.decode_weight)
        for norm in made.norms:
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_(0, 0.1)
    return made.eval()


def norm(layer, u):
    scale = layer.weight / torch.sqrt(layer.running_var + layer.eps)
    return (u - layer.running_mean) * scale + layer.bias


@pytest.mark.parametrize("groups", [1, 2, 3, 12])
def test_events_are_those_of_the_definition(groups):
    """r <- r - D_k (2 z_k - 1), written out, against the lateral form that the class computes."""
    made, features = bottleneck(groups=groups), torch.randn(2, 7, 24)
    rest, spikes, size = features, [], 12 // groups
    for k in range(groups):
        rows = slice(k * size, (k + 1) * size)
        spikes.append((norm(made.norms[k], rest @ made.encode_weight[rows].T) > 0).float())
        rest = rest - (2 * spikes[-1] - 1) @ made.decode_weight[:, rows].T
    quantised, found, residual = made(features)
    torch.testing.assert_close(residual, rest.square().sum() / features.square().sum())
    assert torch.equal(found, torch.cat(spikes, -1).transpose(1, 2))
    torch.testing.assert_close(quantised, features - rest)


def test_one_group_is_the_papers_bottleneck():
    made, features = bottleneck(groups=1), torch.randn(3, 5, 24)
    expected = norm(made.norms[0], features @ made.encode_weight.T) > 0
    assert torch.equal(made.encode(features), expected.transpose(1, 2).float())


def test_the_membrane_says_where_events_are():
    made = bottleneck(groups=4)
    spikes, membranes = made.encode_with_membrane(torch.randn(2, 50, 24))
    assert torch.equal(spikes, (membranes > 0).float())
    assert 0.2 < spikes.mean() < 0.8


@pytest.mark.parametrize("reset", ["none", "zero", "subtract"])
def test_the_leaky_variant_is_a_recurrence_with_its_reset(reset):
    beta, threshold = 0.9, 0.7
    made, features = bottleneck(beta=beta, reset=reset, threshold=threshold), torch.randn(2, 30, 24)
    current = norm(made.norms[0], features @ made.encode_weight.T)
    membrane, expected = torch.zeros(2, 12), []
    for t in range(30):
        fired = (membrane > threshold).float()
        if reset == "zero":
            membrane = membrane * (1 - fired)
        membrane = beta * membrane + current[:, t] - (threshold * fired if reset == "subtract" else 0)
        expected.append((membrane > threshold).float())
    assert torch.equal(made.encode(features), torch.stack(expected, 2))


def test_residual_units_explain_more_than_plain_ones():
    """Fitted to the same Gaussian features, groups that see what is left over reconstruct better."""
    errors = {}
    features = torch.randn(1, 2000, 8, generator=torch.Generator().manual_seed(0))
    for groups in (1, 4):
        torch.manual_seed(0)
        made = SpikingBottleneck(8, 16, config.Spiking(groups=groups))
        optimizer = torch.optim.Adam(made.parameters(), 1e-2)
        for _ in range(150):
            loss = (made(features)[0] - features).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        errors[groups] = loss.item()
    assert errors[4] < 0.8 * errors[1]


def test_nothing_of_the_last_batch_is_kept():
    made = bottleneck(groups=3).train()
    made(torch.randn(2, 5, 24))
    assert made.neuron.mem.numel() == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(groups=5), "12 units cannot be split into 5"),
        (dict(groups=0), "Spiking.groups: must be 1 or more, not 0"),
        (dict(beta=1.0), "beta"),
        (dict(reset="zero"), "nothing to reset"),
        (dict(surrogate="magic"), "magic.*fast_sigmoid"),
    ],
)
def test_settings_that_contradict_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        bottleneck(**settings)
