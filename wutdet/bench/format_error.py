"""What rounding to a low-bit format costs: mean squared error on Gaussian values and on a detector's weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wutdet.lowbit import quantize

#: Name -> format and its options.
CASES: dict[str, tuple[str, dict]] = {
    "hif4": ("hif4", {}),
    "nvfp4 direct": ("nvfp4", {"scaling": "block"}),
    "nvfp4 two-level": ("nvfp4", {"scaling": "two-level"}),
    "mxfp4 floor": ("mxfp4", {"scale_rule": "floor"}),
    "mxfp4 truncation-free": ("mxfp4", {"scale_rule": "ceil"}),
    "int4 group 64": ("int4", {"group_size": 64}),
}
#: Of arXiv 2602.11287, section III-A, to HiF4.
PUBLISHED = {"hif4": 1.0, "nvfp4 direct": 1.32, "mxfp4 floor": 1.89}
#: Of the same section: 0.01 * 2^5.
SIGMA = 0.32


def gaussian_errors(sigma: float = SIGMA, shape: tuple[int, int] = (8192, 4096), seed: int = 0) -> list[dict]:
    """One row per case: format, mse, signal (mean square of the values), ratio to HiF4, ``published`` where it is.

    Args:
        sigma: of the normal distribution.
        shape: of the float32 array; groups run along its last axis.
        seed: of the values.
    """
    x = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * np.float32(sigma)
    return _rows({name: _squared_error(x, *case) for name, case in CASES.items()}, _squares(x), x.size)


def weight_errors(weights: Mapping[str, np.ndarray]) -> list[dict]:
    """The same over all weights of a network together.

    Args:
        weights: name -> float32 [O, K], groups along K within an output channel.
    """
    errors = {
        name: sum(_squared_error(rows, format, options) for rows in weights.values())
        for name, (format, options) in CASES.items()
    }
    signal = sum(_squares(rows) for rows in weights.values())
    return _rows(errors, signal, sum(rows.size for rows in weights.values()))


def checkpoint_weights(model: str) -> dict[str, np.ndarray]:
    """Weights of the convolutions that low-bit formats are used for, batch norm folded: name -> float32 [O, H * W * I].

    Raises:
        ModelError: not the checkpoint of a detector.
        MissingExtraError: torch or ultralytics is not installed.
    """
    from wutdet.bench.lowbit_table import packable_parameters
    from wutdet.quantize.weights import to_rows
    from wutdet.runtime.model_files import find_model
    from wutdet.runtime.torch_backend import load_checkpoint

    network = load_checkpoint(find_model(model)).model
    return {name: to_rows(network.get_parameter(name).numpy()) for name in packable_parameters(network)}


def _rows(errors: Mapping[str, float], signal: float, count: int) -> list[dict]:
    return [
        {
            "format": name,
            "mse": error / count,
            "signal": signal / count,
            "ratio": error / errors["hif4"],
            "published": PUBLISHED.get(name),
        }
        for name, error in errors.items()
    ]


def _squared_error(x: np.ndarray, format: str, options: dict) -> float:
    return _squares(quantize(x, format, **options).dequantize() - x)


def _squares(x: np.ndarray) -> float:
    """Sum of squares in float64, a part of the rows at a time."""
    return sum(float(np.square(part, dtype=np.float64).sum()) for part in np.array_split(x, max(1, len(x) // 512)))
