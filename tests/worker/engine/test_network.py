import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from worker.engine.errors import InvalidConfig, NonFiniteValues
from worker.engine.features import matrix_power
from worker.engine.network import (
    ACTIVATIONS,
    LOSSES,
    NetworkConfig,
    agreement,
    build,
    correlation,
    statistics,
    train,
)

WEIGHT_DECAY = 0.02
SMALL = NetworkConfig(hidden=(6, 5), activation="tanh", weight_decay=WEIGHT_DECAY, steps=40, report_every=10)
STATISTICS = ("gradient", "fact", "bfact", "agop", "enfa")


def _rows(n=9, d=4, c=3):
    generator = torch.Generator().manual_seed(5)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    Y = torch.randn(n, c, generator=generator, dtype=torch.float64)
    return X, {"squared": Y, "cross_entropy": Y.argmax(1)}


def _naive(network, k, X, Y, loss, weight_decay):
    """The statistics of the k-th part of a sequence, row by row from their definitions."""
    W = network[k].weight.detach()
    n = len(X)
    found = dict.fromkeys(STATISTICS, 0.0)
    for x, y in zip(X, Y, strict=True):
        h = network[:k](x).detach()
        u = network[k](h).detach()

        def loss_of_h(h, y=y):
            return loss(network[k:](h).unsqueeze(0), y.unsqueeze(0)).sum()

        def loss_of_u(u, y=y):
            return loss(network[k + 1 :](u).unsqueeze(0), y.unsqueeze(0)).sum()

        g = torch.autograd.functional.jacobian(loss_of_h, h)
        v = torch.autograd.functional.jacobian(loss_of_u, u)
        J = torch.autograd.functional.jacobian(network[k:], h)
        found["gradient"] += torch.outer(v, h) / n
        found["fact"] -= torch.outer(g, h) / (n * weight_decay)
        found["bfact"] -= torch.outer(W @ h, v) / (n * weight_decay)
        found["agop"] += J.T @ J / n
        found["enfa"] += torch.outer(g, g) / n
    return found


def _assert_same(found, expected):
    for name in STATISTICS:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_statistics_equal_their_definitions_row_by_row(loss, activation, bias):
    X, targets = _rows()
    network = build(replace(SMALL, activation=activation, bias=bias), 4, 3).double()
    found = statistics(network, X, targets[loss], LOSSES[loss], WEIGHT_DECAY)
    assert [layer.name for layer in found] == ["0", "2", "4"]
    for layer in found:
        expected = _naive(network, int(layer.name), X, targets[loss], LOSSES[loss], WEIGHT_DECAY)
        for name in STATISTICS:
            torch.testing.assert_close(getattr(layer, name), expected[name])


@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_the_size_of_chunks_changes_nothing(chunk_rows):
    X, targets = _rows()
    network = build(SMALL, 4, 3).double()
    arguments = (network, X, targets["squared"], LOSSES["squared"], WEIGHT_DECAY)
    pairs = zip(statistics(*arguments, chunk_rows=chunk_rows), statistics(*arguments), strict=True)
    for found, expected in pairs:
        _assert_same(found, expected)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_at_a_critical_point_fact_and_bfact_are_the_gram_matrices_of_the_weights(loss):
    X, _ = _rows(n=30)
    Y = {"squared": X[:, :3].tanh(), "cross_entropy": X[:, :3].argmax(1)}[loss]
    config = replace(SMALL, loss=loss, learning_rate=0.4, momentum=0.95, steps=3000, cooldown=0.0, report_every=3000)
    network = build(config, 4, 3).double()
    list(train(network, X, Y, config))
    for layer in statistics(network, X, Y, LOSSES[loss], WEIGHT_DECAY):
        W = layer.weight
        assert W.norm() > 0.5
        torch.testing.assert_close(layer.fact, W.T @ W, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(layer.bfact, W @ W.T, rtol=1e-6, atol=1e-7)
    compared = agreement(network, X, Y, LOSSES[loss], WEIGHT_DECAY)
    for layer in compared:
        assert layer.residual_gradient < 1e-6
        assert min(layer.fact, layer.bfact, layer.fact_symmetrised) > 1 - 1e-9
    # the last layer's Jacobian is W itself
    assert compared[0].agop < 0.999
    assert compared[-1].agop == pytest.approx(1)


def test_agreement_is_the_correlation_of_each_statistic_with_the_weights():
    X, targets = _rows()
    network = build(SMALL, 4, 3).double()
    arguments = (network, X, targets["squared"], LOSSES["squared"], WEIGHT_DECAY)
    compared, layer = agreement(*arguments)[1], statistics(*arguments)[1]
    W = layer.weight
    inner = W.T @ W
    assert (compared.name, compared.n_inputs, compared.n_outputs) == ("2", 6, 5)
    assert compared.fact == correlation(layer.fact, inner)
    assert compared.bfact == correlation(layer.bfact, W @ W.T)
    assert compared.agop == correlation(layer.agop, inner)
    assert compared.enfa == correlation(layer.enfa, inner)
    assert compared.agop_root == correlation(matrix_power(layer.agop, 0.5), inner)
    assert compared.enfa_root == correlation(matrix_power(layer.enfa, 0.5), inner)
    singular = torch.linalg.svd(layer.fact)
    symmetrised = singular.U @ singular.S.diag() @ singular.U.T
    assert compared.fact_symmetrised == pytest.approx(correlation(symmetrised, inner), abs=1e-6)
    objective = LOSSES["squared"](network(X), targets["squared"]).mean() + WEIGHT_DECAY / 2 * sum(
        part.weight.square().sum() for part in network if isinstance(part, nn.Linear)
    )
    (G,) = torch.autograd.grad(objective, [network[2].weight])
    assert compared.residual_gradient == pytest.approx(float(G.norm() / (WEIGHT_DECAY * W.norm())))
    assert compared.weight_norm == pytest.approx(float(W.norm()))


def test_correlation_is_pearsons_and_none_of_a_constant():
    A = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert correlation(A, 5 - 2 * A) == pytest.approx(-1.0)
    expected = torch.corrcoef(torch.stack([A.flatten(), A.exp().flatten()]))[0, 1]
    assert correlation(A, A.exp()) == pytest.approx(float(expected))
    assert correlation(A, torch.zeros(2, 2)) is None


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 5)
        self.down = nn.Linear(5, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, h):
        # overwrites the layer's output, and passes the layer's input by
        return h + self.down(input=self.drop(self.up(h).relu_()))


class _Own(nn.Module):
    """Nested parts, one of them used twice, a residual, a frozen layer, and dropout."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([_Block(), _Block()])
        self.again = self.blocks[0]
        self.head = nn.Linear(4, 3)
        self.blocks[1].up.requires_grad_(False)

    def forward(self, x):
        return self.head(self.again(self.blocks[1](self.blocks[0](x))))


@pytest.fixture
def own():
    torch.manual_seed(6)
    return _Own().double()


def test_a_module_of_ones_own_is_looked_into_and_left_as_it_was(own):
    X, targets = _rows()
    found = statistics(own, X, targets["squared"], LOSSES["squared"], WEIGHT_DECAY)
    names = ["blocks.0.up", "blocks.0.down", "blocks.1.up", "blocks.1.down", "head"]
    assert [layer.name for layer in found] == names
    assert all(part.training for part in own.modules())
    assert all(parameter.grad is None for parameter in own.parameters())
    assert not any(part._forward_hooks for part in own.modules())
    own.eval().requires_grad_(True)
    loss = LOSSES["squared"](own(X), targets["squared"]).mean()
    for layer in found:
        W = own.get_submodule(layer.name).weight
        (G,) = torch.autograd.grad(loss, [W], retain_graph=True)
        torch.testing.assert_close(layer.gradient, G)
        torch.testing.assert_close(layer.fact, -W.detach().T @ G / WEIGHT_DECAY)
        torch.testing.assert_close(layer.bfact, -W.detach() @ G.T / WEIGHT_DECAY)


def test_parts_in_training_and_parts_in_evaluation_stay_so(own):
    X, targets = _rows()
    own.blocks[0].eval()
    before = [part.training for part in own.modules()]
    statistics(own, X, targets["squared"], LOSSES["squared"], WEIGHT_DECAY)
    list(train(own, X, targets["squared"], replace(SMALL, steps=1)))
    assert [part.training for part in own.modules()] == before


def test_layers_can_be_named(own):
    X, targets = _rows()
    arguments = (own, X, targets["squared"], LOSSES["squared"], WEIGHT_DECAY)
    chosen = statistics(*arguments, layers=["head", "blocks.1.up"])
    every = {layer.name: layer for layer in statistics(*arguments)}
    assert [layer.name for layer in chosen] == ["head", "blocks.1.up"]
    for layer in chosen:
        _assert_same(layer, every[layer.name])


def test_layers_tied_to_one_weight_are_one():
    torch.manual_seed(7)
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    network[2].weight = network[0].weight
    X, targets = _rows()
    found = statistics(network, X, targets["squared"], LOSSES["squared"], WEIGHT_DECAY)
    assert [layer.name for layer in found] == ["0", "4"]
    (G,) = torch.autograd.grad(LOSSES["squared"](network(X), targets["squared"]).mean(), [network[0].weight])
    torch.testing.assert_close(found[0].gradient, G)


def test_every_position_of_a_row_counts():
    torch.manual_seed(8)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2), nn.Flatten(1)).double()
    generator = torch.Generator().manual_seed(9)
    X = torch.randn(5, 3, 4, generator=generator, dtype=torch.float64)
    Y = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    layer = statistics(network, X, Y, LOSSES["squared"], WEIGHT_DECAY)[0]
    (G,) = torch.autograd.grad(LOSSES["squared"](network(X), Y).mean(), [network[0].weight])
    torch.testing.assert_close(layer.gradient, G)
    J = torch.stack([torch.autograd.functional.jacobian(network, x.unsqueeze(0)).reshape(6, 3, 4) for x in X])
    torch.testing.assert_close(layer.agop, torch.einsum("icpd,icpe->de", J, J) / 5)


def test_a_layer_without_any_effect_has_zero_statistics():
    network = nn.Sequential(nn.Linear(4, 3)).double()
    X, targets = _rows()

    def indifferent(outputs, Y):
        return outputs.detach().sum(1) * 0 + network[0].bias.sum() * 0

    layer = statistics(network, X, targets["squared"], indifferent, WEIGHT_DECAY)[0]
    assert not layer.fact.any()
    assert agreement(network, X, targets["squared"], indifferent, WEIGHT_DECAY)[0].fact is None


def test_statistics_refuse_what_the_theorem_does_not_cover(own):
    X, targets = _rows()
    Y, loss = targets["squared"], LOSSES["squared"]
    with pytest.raises(InvalidConfig, match="weight_decay must be finite and above 0, not 0"):
        statistics(own, X, Y, loss, 0.0)
    with pytest.raises(InvalidConfig, match="one value a row, shape \\(9,\\), not \\(\\)"):
        statistics(own, X, Y, nn.MSELoss(), WEIGHT_DECAY)
    with pytest.raises(InvalidConfig, match=r"linear layers of the module, not 'blocks\.0\.drop'"):
        statistics(own, X, Y, loss, WEIGHT_DECAY, layers=["blocks.0.drop"])
    with pytest.raises(InvalidConfig, match="as many rows, not 9 and 8"):
        statistics(own, X, Y[:8], loss, WEIGHT_DECAY)
    with pytest.raises(InvalidConfig, match="chunk_rows must be at least 1, not 0"):
        statistics(own, X, Y, loss, WEIGHT_DECAY, chunk_rows=0)
    with pytest.raises(InvalidConfig, match="no linear layer"):
        statistics(nn.Tanh(), X, X, loss, WEIGHT_DECAY)
    own.unused = nn.Linear(2, 2)
    with pytest.raises(InvalidConfig, match="'unused' is not called"):
        statistics(own, X, Y, loss, WEIGHT_DECAY)
    with pytest.raises(NonFiniteValues, match=r"blocks\.0\.up"):
        statistics(own, X * math.nan, Y, loss, WEIGHT_DECAY, layers=["blocks.0.up"])


def test_losses_refuse_targets_of_another_shape():
    X, targets = _rows()
    with pytest.raises(InvalidConfig, match="shaped as outputs, \\(9, 4\\), not \\(9, 3\\)"):
        LOSSES["squared"](X, targets["squared"])
    with pytest.raises(InvalidConfig, match="class codes shaped \\(9,\\)"):
        LOSSES["cross_entropy"](X, targets["squared"])


def test_the_seed_alone_decides_the_first_weights():
    torch.manual_seed(1)
    first = build(SMALL, 4, 3).state_dict()
    state = torch.get_rng_state()
    again = build(SMALL, 4, 3).state_dict()
    other = build(replace(SMALL, seed=1), 4, 3).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


@pytest.mark.parametrize("stop", [0, 10, 30])
def test_training_goes_on_from_any_state_bit_for_bit(stop):
    X, targets = _rows()
    whole = list(train(build(SMALL, 4, 3), X, targets["squared"], SMALL))
    assert [state.step for state in whole] == [0, 10, 20, 30, 40]
    stopped = next(state for state in whole if state.step == stop)
    network = build(replace(SMALL, seed=9), 4, 3)
    rest = list(train(network, X, targets["squared"], SMALL, stopped))
    assert [state.step for state in rest] == [step for step in (10, 20, 30, 40) if step > stop]
    for state, expected in zip(reversed(rest), reversed(whole), strict=False):
        assert (state.loss, state.penalty) == (expected.loss, expected.penalty)
        for name in expected.weights:
            assert torch.equal(state.weights[name], expected.weights[name])
            assert torch.equal(state.momentum[name], expected.momentum[name])
    assert all(torch.equal(W, rest[-1].weights[name]) for name, W in network.state_dict().items())
    assert not list(train(network, X, targets["squared"], SMALL, rest[-1]))


def test_training_descends_the_objective_that_the_state_tells():
    X, targets = _rows()
    network = build(SMALL, 4, 3)
    states = list(train(network, X, targets["squared"], replace(SMALL, report_every=1)))
    totals = [state.loss + state.penalty for state in states]
    assert totals[-1] < totals[0] / 1.5
    weights = [part.weight for part in network if isinstance(part, nn.Linear)]
    assert states[-1].loss == float(LOSSES["squared"](network(X), targets["squared"]).detach().mean())
    assert states[-1].penalty == pytest.approx(
        WEIGHT_DECAY / 2 * float(sum(W.detach().square().sum() for W in weights))
    )
    assert {part.dtype for part in network.parameters()} == {torch.float64}


def test_the_learning_rate_comes_to_rest():
    config = replace(SMALL, cooldown=0.5)
    rates = [config.learning_rate_at(step) for step in range(config.steps + 1)]
    assert rates[:20] == [config.learning_rate] * 20
    assert rates[-1] == 0.0
    assert rates == sorted(rates, reverse=True)
    assert replace(SMALL, cooldown=0.0).learning_rate_at(SMALL.steps) == SMALL.learning_rate


def test_a_bounded_gradient_survives_a_beginning_that_blows_up_without_the_bound():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(200, 20, generator=generator)
    Y = X[:, :5].sum(1, keepdim=True) / 5**0.5
    config = NetworkConfig(steps=200, report_every=200)
    with pytest.raises(NonFiniteValues, match="smaller learning_rate"):
        list(train(build(config, 20, 1), X, Y, replace(config, max_gradient_norm=None)))
    *_, last = train(build(config, 20, 1), X, Y, config)
    assert last.loss < 0.1


def test_a_short_gradient_is_taken_as_it_is():
    X, targets = _rows()
    X = X.float()
    ends = []
    for longest in (None, 1e6):
        network = build(SMALL, 4, 3)
        list(train(network, X, targets["squared"].float(), replace(SMALL, max_gradient_norm=longest)))
        ends.append(torch.cat([W.flatten() for W in network.parameters()]))
    assert torch.equal(*ends)


def test_statistics_that_overflow_say_so():
    network = build(SMALL, 4, 3)
    with torch.no_grad():
        for W in network.parameters():
            W.mul_(1e20)
    X, targets = _rows()
    with pytest.raises(NonFiniteValues, match="smaller learning_rate"):
        agreement(network, X.float(), targets["cross_entropy"], LOSSES["cross_entropy"], WEIGHT_DECAY)


def test_training_that_cannot_go_well_says_so():
    X, targets = _rows()
    config = replace(SMALL, activation="relu", learning_rate=1e9, max_gradient_norm=None)
    with pytest.raises(NonFiniteValues, match="smaller learning_rate"):
        list(train(build(SMALL, 4, 3), X, 10 * targets["squared"], config))
    with pytest.raises(NonFiniteValues, match="X holds NaN"):
        next(train(build(SMALL, 4, 3), X * math.inf, targets["squared"], SMALL))
    state = next(train(build(SMALL, 4, 3), X, targets["squared"], SMALL))
    with pytest.raises(InvalidConfig, match="the state is of a module with"):
        next(train(nn.Linear(4, 3), X, targets["squared"], SMALL, state))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"activation": "sine"}, "activation must be one of relu, quadratic, tanh, gelu, linear, not 'sine'"),
        ({"loss": "hinge"}, "loss must be one of squared, cross_entropy, not 'hinge'"),
        ({"hidden": (4, 0)}, r"hidden must hold widths of at least 1, not \(4, 0\)"),
        ({"weight_decay": 0.0}, r"weight_decay must be finite and above 0, not 0\.0"),
        ({"learning_rate": math.inf}, "learning_rate must be finite and above 0, not inf"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), not 1\.0"),
        ({"max_gradient_norm": 0.0}, r"max_gradient_norm must be finite and above 0, or None for no bound, not 0\.0"),
        ({"cooldown": 1.5}, r"cooldown must lie in \[0, 1\], not 1\.5"),
        ({"steps": -1}, "steps must be at least 0, not -1"),
        ({"report_every": 0}, "report_every must be at least 1, not 0"),
    ],
)
def test_a_config_out_of_range_names_the_parameter_and_its_value(options, told):
    with pytest.raises(InvalidConfig, match=told):
        NetworkConfig(**options)
