"""``wutdet average A.pt B.pt ... --out C.pt``: one network from several trainings of it, at no cost when detecting.

Trainings that start from the same weights usually end in one wide valley, and the middle of it is better than its rim:
Wortsman et al., "Model soups" (ICML 2022). Whether that holds here is for ``wutdet eval`` to say.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from wutdet.config import AverageConfig
from wutdet.errors import ModelError, UsageError
from wutdet.train import checkpoint
from wutdet.train.architecture import read_checkpoint

_log = logging.getLogger(__name__)

#: What of the settings of a training holds for the average too: not its seed, its learning rate or its folders.
_KEPT_ARGS = ("task", "imgsz")
# What a checkpoint says of its own file or its own last epoch, which is not true of an average.
_OWN = {"model", "ema", "optimizer", "resume", "epoch", "train_metrics", "train_results", "version", "wutdet_version"}


@dataclass(frozen=True)
class AverageResult:
    """The file that was written, and from what.

    Attributes:
        file: the new checkpoint.
        parts: checkpoint and share of each.
    """

    file: Path
    parts: tuple[tuple[Path, float], ...]

    def to_text(self) -> str:
        return "\n".join([f"{self.file}: average of", *(f"  {share:.3f}  {file}" for file, share in self.parts)])

    def to_json(self) -> dict:
        return {"file": str(self.file), "parts": [{"file": str(f), "share": share} for f, share in self.parts]}


def run(config: AverageConfig) -> AverageResult:
    """Averages checkpoints and writes a new one.

    Raises:
        UsageError: fewer than two models, shares that are not one number above 0 for each, or OUT is one of them.
        ModelError: a file that cannot be read, or networks, classes or scales that differ.
    """
    files = [Path(file) for file in config.models]
    if len(files) < 2:
        raise UsageError(f"an average needs at least two checkpoints, received {len(files)}")
    shares = config.shares or (1.0,) * len(files)
    if len(shares) != len(files) or not all(0 < share < float("inf") for share in shares):
        raise UsageError(f"--shares needs a number above 0 for each of the {len(files)} models, received {shares}")
    if Path(config.out).resolve() in [file.resolve() for file in files]:
        raise UsageError(f"--out {config.out} is one of the models", hint="name another file")
    shares = tuple(share / sum(shares) for share in shares)
    models = [read_checkpoint(file) for file in files]
    contents = [checkpoint.load(file) for file in files]
    for file, model, content in zip(files[1:], models[1:], contents[1:], strict=True):
        _compare(files[0], models[0], contents[0], file, model, content)
    averaged = average(models, shares)
    facts = {key: value for key, value in contents[0].items() if key not in _OWN}
    facts["wutdet"] = {
        **facts.get("wutdet", {}),
        "train_data": " + ".join(dict.fromkeys(c.get("wutdet", {}).get("train_data", "unknown") for c in contents)),
        "average_of": [{"file": f.name, "share": s} for f, s in zip(files, shares, strict=True)],
    }
    args = contents[0].get("train_args") or {}
    facts["train_args"] = averaged.args = {key: args[key] for key in _KEPT_ARGS if key in args}
    checkpoint.save(config.out, averaged, facts)
    return AverageResult(config.out, tuple(zip(files, shares, strict=True)))


def average(models: list[nn.Module], shares: tuple[float, ...]) -> nn.Module:
    """The first of some networks of one architecture, with weights averaged over all of them.

    Statistics of batch normalisation are averaged like weights (variances without what the means differ by, which for
    trainings from one start is little). Counters keep the first network's value.

    Args:
        models: float32; the first one is changed and returned.
        shares: of each; they sum to 1.
    """
    states = [model.state_dict() for model in models]
    for name, value in states[0].items():
        if value.is_floating_point():
            total = sum(share * state[name].double() for share, state in zip(shares, states, strict=True))
            value.copy_(total.to(value.dtype))
    return models[0]


def _compare(first: Path, a: nn.Module, facts_a: dict, file: Path, b: nn.Module, facts_b: dict) -> None:
    """Refuses what makes an average senseless; a change of input size in training is only mentioned."""
    shapes_a, shapes_b = ({k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (a, b))
    if shapes_a != shapes_b:
        name = next(k for k in [*shapes_a, *shapes_b] if shapes_a.get(k) != shapes_b.get(k))
        raise ModelError(
            f"not the network of {first.name}: {name} is {shapes_b.get(name, 'missing')}, "
            f"there {shapes_a.get(name, 'missing')}",
            file=file,
            hint="only trainings of one architecture can be averaged",
        )
    if dict(a.names) != dict(b.names):
        raise ModelError(f"other classes than {first.name}: {dict(b.names)}, there {dict(a.names)}", file=file)
    a_says, b_says = facts_a.get("wutdet", {}), facts_b.get("wutdet", {})
    for key, one in (("max_scale", "scale limit"), ("quantised", "low-bit training")):
        if a_says.get(key) != b_says.get(key):
            raise ModelError(
                f"another {one} than {first.name}: {b_says.get(key)}, there {a_says.get(key)}",
                file=file,
                hint="average models that see frames alike",
            )
    if a_says.get("imgsz") != b_says.get("imgsz"):
        _log.warning("%s was trained for input %s, %s for %s", file, b_says.get("imgsz"), first, a_says.get("imgsz"))
