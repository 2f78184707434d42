"""Formats per layer under a budget, against trying every choice."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from wutdet.errors import ExportError, UsageError

torch = pytest.importorskip("torch")

from wutdet.quantize.lowbit import LowBitSettings, quantise_weights  # noqa: E402
from wutdet.quantize.mixed import choose_formats, most_sensitive  # noqa: E402
from wutdet.quantize.sensitivity import Sensitivity  # noqa: E402
from wutdet.quantize.weights import pack_weight  # noqa: E402

FORMATS = ("hif4", "int8", "float32")


def sensitivity(loss, nbytes, formats=FORMATS) -> Sensitivity:
    loss, nbytes = np.asarray(loss, dtype=np.float64), np.asarray(nbytes, dtype=np.int64)
    names = tuple(f"{row}.weight" for row in range(len(loss)))
    return Sensitivity(names, formats[: loss.shape[1]], loss, nbytes, np.zeros(len(loss)))


def total(table: np.ndarray, chosen: dict[str, str]) -> float:
    return sum(table[row, FORMATS.index(format)] for row, format in enumerate(chosen.values()))


@pytest.mark.parametrize("spare", [0, 1, 3, 6])
def test_layers_of_equal_size_are_chosen_as_well_as_can_be(spare, rng):
    """With equal sizes and two formats, the best choice is known to be greedy; every choice is tried."""
    loss = np.stack([rng.uniform(1, 2, 6), rng.uniform(0, 1, 6)], axis=1)
    nbytes = np.tile([100, 200], (6, 1))
    chosen = choose_formats(sensitivity(loss, nbytes), most_bytes=600 + 100 * spare + 50)
    best = min(
        sum(loss[row, column] for row, column in enumerate(columns))
        for columns in product((0, 1), repeat=6)
        if sum(nbytes[row, column] for row, column in enumerate(columns)) <= 600 + 100 * spare + 50
    )
    assert total(loss, chosen) == pytest.approx(best)


def test_budgets_are_kept_and_used(rng):
    for _ in range(30):
        nbytes = np.cumsum(rng.integers(10, 100, (5, 3)), axis=1)
        loss = np.sort(rng.uniform(0, 1, (5, 3)))[:, ::-1].copy()
        loss[:, 2] = 0
        table = sensitivity(loss, nbytes)
        choices = list(product(range(3), repeat=5))
        sizes = np.array([sum(nbytes[row, column] for row, column in enumerate(c)) for c in choices])
        losses = np.array([sum(loss[row, column] for row, column in enumerate(c)) for c in choices])
        budget = int(rng.integers(sizes.min(), sizes.max()))
        chosen = choose_formats(table, most_bytes=budget)
        assert total(nbytes, chosen) <= budget
        # Greedy falls short of the best choice by less than one step.
        step = max((loss[row, 0] - loss[row].min()) for row in range(5))
        assert losses[sizes <= budget].min() <= total(loss, chosen) + 1e-12
        assert total(loss, chosen) <= losses[sizes <= budget].min() + step
        assert chosen == choose_formats(table, most_bytes=budget)
        limit = float(rng.uniform(losses.min(), losses.max()))
        chosen = choose_formats(table, largest_loss=limit)
        assert total(loss, chosen) <= limit
        assert total(nbytes, chosen) >= sizes[losses <= limit].min()


def test_a_larger_format_that_loses_more_is_never_taken():
    chosen = choose_formats(sensitivity([[0.1, 0.3, 0.0]], [[10, 20, 40]]), most_bytes=39)
    assert chosen == {"0.weight": "hif4"}


def test_most_sensitive_layers():
    table = sensitivity([[0.1, 0], [0.5, 0], [0.5, 0], [0.2, 0]], [[1, 2]] * 4)
    assert list(most_sensitive(table, "hif4", "int8", 2).values()) == ["hif4", "int8", "int8", "hif4"]
    assert set(most_sensitive(table, "hif4", "int8", 0).values()) == {"hif4"}
    with pytest.raises(UsageError, match=r"0\.\.4"):
        most_sensitive(table, "hif4", "int8", 5)


def test_budgets_that_cannot_be_kept():
    table = sensitivity([[0.2, 0.1]], [[10, 20]])
    with pytest.raises(ExportError, match="10 bytes at least, 9"):
        choose_formats(table, most_bytes=9)
    with pytest.raises(ExportError, match=r"0\.1 at least"):
        choose_formats(table, largest_loss=0.05)
    with pytest.raises(UsageError, match="exactly one"):
        choose_formats(table)


def network():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)]
    return torch.nn.Sequential(*layers).eval().requires_grad_(False)


@pytest.mark.parametrize("activations", ["float", "int8", "same"])
def test_every_layer_gets_its_own_format(activations, rng):
    pictures = [rng.random((1, 8, 16, 16), dtype=np.float32) for _ in range(2)]
    model, plain = network(), network()
    formats = {"0.weight": "int8", "2.weight": "float32"}
    settings = LowBitSettings(
        "mxfp4",
        method="nearest",
        restore=False,
        activations=activations,
        options=(("scale_rule", "ceil"),),
        formats=formats,
    )
    packed = quantise_weights(model, [f"{i}.weight" for i in range(3)], lambda: pictures, settings)
    assert {name: weight.tensor.format for name, weight in packed.items()} == {"0.weight": "int8", "1.weight": "mxfp4"}
    for name, (format, options) in {"0.weight": ("int8", {}), "1.weight": ("mxfp4", {"scale_rule": "ceil"})}.items():
        wanted = pack_weight(plain.get_parameter(name).numpy(), format, **options).dequantize()
        np.testing.assert_array_equal(model.get_parameter(name).numpy(), wanted)
    np.testing.assert_array_equal(model[2].weight, plain[2].weight)
    hooked = [bool(layer._forward_pre_hooks) for layer in model]
    assert hooked == ([False] * 3 if activations == "float" else [True, True, False])


def test_a_format_for_a_layer_that_is_not_rounded_is_an_error():
    settings = LowBitSettings("hif4", method="nearest", restore=False, formats={"7.weight": "int8"})
    with pytest.raises(ExportError, match=r"'7\.weight'"):
        quantise_weights(network(), ["0.weight"], list, settings)
