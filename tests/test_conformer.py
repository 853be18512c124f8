import pytest
import torch

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.models.conformer import ConformerLayer, ConformerStack

SETTINGS = config.Conformer(layers=2, heads=2, feedforward=24, kernel=5, window=4)


def lively(module: torch.nn.Module) -> torch.nn.Module:
    """With random weights everywhere, so that no branch is zero."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.eval()


def test_new_layers_change_nothing():
    features = torch.randn(2, 30, 16)
    context = ConformerStack(16, 8, SETTINGS)
    torch.testing.assert_close(context(features, torch.full((2, 1), 3.5)), features, rtol=0, atol=0)


def test_without_layers_and_levels_it_is_the_identity_and_has_no_weights():
    context = ConformerStack(16, 0, config.Conformer())
    features = torch.randn(1, 5, 16)
    assert context(features) is features and not context.state_dict()


def test_a_step_sees_as_far_as_window_and_kernel_say():
    """And no further, so that chunks with that much context are as the whole."""
    layer = lively(ConformerLayer(16, SETTINGS))
    features = torch.randn(1, 41, 16, requires_grad=True)
    layer(features)[0, 20].sum().backward()
    seen = features.grad[0].abs().sum(1).nonzero()[:, 0]
    reach = SETTINGS.window + SETTINGS.kernel // 2
    assert (seen.min(), seen.max()) == (20 - reach, 20 + reach)


def test_a_window_of_zero_sees_all():
    layer = lively(ConformerLayer(16, config.Conformer(heads=2, window=0)))
    features = torch.randn(1, 41, 16, requires_grad=True)
    layer(features)[0, 20].sum().backward()
    assert (features.grad[0].abs().sum(1) > 0).all()


def test_attention_is_that_of_torch_with_the_bias():
    """Against nn.MultiheadAttention with the same weights and an additive mask."""
    attention = lively(ConformerLayer(16, SETTINGS)).attention
    other = torch.nn.MultiheadAttention(16, 2, batch_first=True).eval()
    with torch.no_grad():
        other.in_proj_weight.copy_(attention.inputs.weight)
        other.in_proj_bias.copy_(attention.inputs.bias)
        other.out_proj.load_state_dict(attention.output.state_dict())
    x = torch.randn(3, 12, 16)
    normed = attention.norm(x)
    mask = torch.full((2, 12, 12), float("-inf"))
    for query in range(12):
        for key in range(max(0, query - 4), min(12, query + 5)):
            mask[:, query, key] = attention.bias[:, key - query + 4]
    expected, _ = other(normed, normed, normed, attn_mask=mask.repeat(3, 1, 1), need_weights=False)
    torch.testing.assert_close(attention(x), expected, rtol=1e-4, atol=1e-5)


def test_levels_between_two_are_between_their_prompts():
    context = lively(ConformerStack(16, 4, config.Conformer()))
    features = torch.zeros(1, 2, 16)
    at = [context(features, torch.tensor([[level, level]]))[0, 0] for level in (1.0, 1.25, 2.0, 3.0)]
    torch.testing.assert_close(at[1], 0.75 * at[0] + 0.25 * at[2])
    torch.testing.assert_close(at[3], context.prompt[3])
    each = context(features, torch.tensor([[1.0, 3.0]]))[0]
    torch.testing.assert_close(each, torch.stack([at[0], at[3]]))


@pytest.mark.parametrize("change", [{"heads": 3}, {"kernel": 4}, {"window": -1}, {"heads": 0}])
def test_impossible_sizes_are_errors(change):
    with pytest.raises(UserError, match="heads|odd kernel|Conformer.window"):
        ConformerLayer(16, config.Conformer(**change))
