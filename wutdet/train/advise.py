"""``wutdet data advise``: which input size, crops, tiles, head and recipe fit the sizes of the ships, and why.

The rules are rules of thumb about pixels, each with its constant below; they look at the data's own sizes and know
nothing of a trained model. That of tiles is what the released detector was measured with (results/ships-2026-11). Where
they are close, train both and compare with ``wutdet eval A B DATA``.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from wutdet.config import AdviseConfig, TrainConfig
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError, UsageError
from wutdet.files import write_text
from wutdet.recipes import settings_of
from wutdet.train.balance import Balance, groups_of

#: Long sides of the network input that are looked at.
LONG_SIDES = (320, 416, 512, 640, 800, 960, 1280, 1600, 1920, 2560, 3840)
#: The smallest input at which at most this share of ships is below 8 pixels is taken: 8 pixels are one cell of a head
#: whose finest stride is 8.
LOST_BELOW_PX, LOST_SHARE = 8, 0.05
#: A P2 head (finest stride 4) where at least this share of ships is below 16 pixels: two cells of stride 8.
SMALL_BELOW_PX, SMALL_SHARE = 16, 0.2
#: Stride 32 is left out where at most this share of ships is longer than a third of the input.
LARGE_SHARE = 0.01
#: Larger inputs than this are looked at tile by tile, at the same scale: one pass needs memory for all of it.
LONGEST_INPUT = 1920
#: Side of training crops, and of the tiles of a grid.
CROP, TILE = 640, 1280
#: Tiles along the horizon: with a second row that enlarges where SMALL_SHARE of the ships is small in the frame itself,
#: which takes crops enlarged in training; one row where that share is small only in a smaller input.
TWO_ROWS, ONE_ROW = "horizon@1+2", "horizon"
_MEASURED = (
    "The released detector, 544x960 on harbour cameras (42 % of the ships below 16 px), has AP .327 without tiles, "
    ".404 with --tile horizon (3 times the time), .441 with --tile horizon@1+2 (7 times); results/ships-2026-11."
)
#: Groups are balanced where the largest has more than so many times its share if all counted alike.
UNEVEN = 3.0
#: Timed runs, after untimed ones.
_RUNS, _WARM_UP = 7, 2


@dataclass(frozen=True)
class Candidate:
    """What an input size does to the ships.

    Attributes:
        long_side: of the input in pixels.
        below_8: share of ships of sqrt(area) below 8 pixels of the input.
        below_16: share below 16 pixels.
        median_px: median sqrt(area) in pixels of the input.
        estimated_ms: milliseconds per frame, or None where nothing was timed.
    """

    long_side: int
    below_8: float
    below_16: float
    median_px: float
    estimated_ms: float | None


@dataclass(frozen=True)
class Advice:
    """What was found and what follows.

    Attributes:
        facts: name, frames, ships, size of the usual frame, share of ships longer than a third of the input.
        candidates: input sizes, rising.
        settings: options of ``wutdet train`` that are recommended, ``recipe`` first; a dot as in ``augment.zoom``.
        tile: ``--tile`` of eval and detect.
        command: the recommended training as a command line.
        reasons: one sentence for each decision.
    """

    facts: dict
    candidates: tuple[Candidate, ...]
    settings: dict
    tile: str
    command: str
    reasons: tuple[str, ...]

    def to_text(self) -> str:
        """A readable summary."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        facts = self.facts
        yield (
            f"{facts['name'] or 'data set'}: {facts['frames']:,} frames, usually {facts['frame_wh'][0]}x"
            f"{facts['frame_wh'][1]}, {facts['ships']:,} ships"
        )
        yield ""
        timed = self.candidates[0].estimated_ms is not None
        yield f"{'input':>6}{'below 8 px':>12}{'below 16 px':>13}{'median px':>11}" + ("      ms" if timed else "")
        for candidate in self.candidates:
            chosen = " <-" if candidate.long_side == facts["long_side"] else ""
            ms = f"{candidate.estimated_ms:>8.1f}" if timed else ""
            yield (
                f"{candidate.long_side:>6}{100 * candidate.below_8:>10.1f} %{100 * candidate.below_16:>11.1f} %"
                f"{candidate.median_px:>11.1f}{ms}{chosen}"
            )
        yield ""
        yield from (f"- {reason}" for reason in self.reasons)
        yield ""
        yield self.command

    def to_json(self) -> dict:
        return {
            "schema": "wutdet.data.advise/2",
            **self.facts,
            "candidates": [vars(candidate) for candidate in self.candidates],
            "settings": self.settings,
            "tile": self.tile,
            "command": self.command,
            "reasons": list(self.reasons),
        }


def run(config: AdviseConfig) -> Advice:
    """Runs ``wutdet data advise``.

    Raises:
        DataError: the data set cannot be read, or has no ships to go by.
        UsageError: a budget without a model to time.
    """
    dataset = load_dataset(config.data, format=config.format, classes=config.classes)
    if (dataset.split.codes >= 0).any():
        dataset = dataset.in_split(config.split)
    timed = None
    if config.budget_ms is not None:
        if config.budget_ms <= 0:
            raise UsageError(f"--budget-ms must be above 0, received {config.budget_ms}")
        if config.model is None:
            raise UsageError("--budget-ms needs a model to time", hint="--model FILE: an artefact or a checkpoint")
        timed = ms_per_megapixel(config.model, _usual_frame(dataset), config.threads)
    advice = advise(dataset, config.data, timed, config.budget_ms)
    if config.out is not None:
        write_text(config.out, advice.to_text() + "\n")
    return advice


def ms_per_megapixel(model: str, frame_wh: tuple[int, int], threads: int = 0) -> float:
    """Median time of a detector on a grey frame, from pixels to boxes, per million pixels of its input.

    Raises:
        ModelError: no such model.
    """
    from wutdet.runtime.detector import Detector

    detector = Detector(model, threads=threads)
    frame = np.full((frame_wh[1], frame_wh[0], 3), 127, np.uint8)
    width, height = detector.preprocess(frame)[1].input_wh
    seconds = []
    for _ in range(_WARM_UP + _RUNS):
        started = time.perf_counter()
        detector(frame)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[_WARM_UP:])) * 1000 / (width * height / 1e6)


def advise(dataset: Dataset, data: str, timed: float | None = None, budget_ms: float | None = None) -> Advice:
    """The advice for a data set.

    Args:
        dataset: frames that are to be trained on.
        data: how the command line names them.
        timed: milliseconds per million pixels of input, or None.
        budget_ms: most milliseconds per frame.

    Raises:
        DataError: there are no ships to go by.
    """
    kept = ~np.asarray(dataset.ignore)
    xyxy = np.asarray(dataset.xyxy)[kept]
    side = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0)
    if not len(side):
        raise DataError("no ships to go by: all frames are empty, or all boxes ignored", file=data)
    frame_wh = _usual_frame(dataset)
    longest = np.asarray(dataset.size_wh).max(axis=1)[np.asarray(dataset.box_image)[kept]]
    size, long_share = np.sqrt(side.prod(axis=1)) / longest, side.max(axis=1) / longest
    candidates = tuple(
        Candidate(
            long_side,
            float((size * long_side < LOST_BELOW_PX).mean()),
            float((size * long_side < SMALL_BELOW_PX).mean()),
            float(np.median(size * long_side)),
            None if timed is None else timed * _megapixels(long_side, frame_wh),
        )
        for long_side in LONG_SIDES
        if long_side <= max(max(frame_wh), LONG_SIDES[0])
    )
    chosen, reasons = _choose_input(candidates, budget_ms, frame_wh)
    settings: dict = {}
    large = float((long_share > 1 / 3).mean())
    tiny = float((np.sqrt(side.prod(axis=1)) < SMALL_BELOW_PX).mean())
    tile, tile_reason = _choose_tiles(chosen, tiny, frame_wh, data, budget_ms)
    settings["recipe"], reason = _choose_recipe(chosen, large, tile)
    reasons.append(reason)
    if budget_ms is not None and settings["recipe"] == "far-ships-p2":
        reasons.append("A P2 head costs time: time a P2 model before you rely on the budget.")
    # Tiles along the horizon show the frame at its own size, whatever the input.
    scale_side = max(frame_wh) if tile in (ONE_ROW, TWO_ROWS) else chosen.long_side
    settings.update(_crops(scale_side, long_share, reasons))
    if tile == ONE_ROW:
        settings["augment.zoom"] = None  # nothing is enlarged later
    reasons.append(tile_reason)
    by = _choose_balance(dataset, reasons)
    if by != "none":
        settings["balance"] = by
    facts = {
        "name": dataset.name,
        "frames": len(dataset),
        "ships": len(side),
        "frame_wh": list(frame_wh),
        "long_side": chosen.long_side,
        "longer_than_a_third": large,
    }
    return Advice(facts, candidates, settings, tile, _command(data, settings), tuple(reasons))


def _usual_frame(dataset: Dataset) -> tuple[int, int]:
    """The most frequent frame size (width, height)."""
    sizes, counts = np.unique(np.asarray(dataset.size_wh).reshape(-1, 2), axis=0, return_counts=True)
    width, height = sizes[int(np.argmax(counts))]
    return int(width), int(height)


def _megapixels(long_side: int, frame_wh: tuple[int, int]) -> float:
    """Millions of pixels of the input, both sides rounded up to multiples of 32."""
    return float(np.prod([-(-side * long_side // max(frame_wh) // 32) * 32 for side in frame_wh]) / 1e6)


def _choose_input(
    candidates: tuple[Candidate, ...], budget_ms: float | None, frame_wh: tuple[int, int]
) -> tuple[Candidate, list[str]]:
    wanted = next((c for c in candidates if c.below_8 <= LOST_SHARE), candidates[-1])
    if wanted.below_8 <= LOST_SHARE:
        smaller = [c for c in candidates if c.long_side < wanted.long_side]
        beside = f"; at {smaller[-1].long_side} it would be {100 * smaller[-1].below_8:.0f} %" if smaller else ""
        reasons = [
            f"Input {wanted.long_side}: {100 * wanted.below_8:.1f} % of the ships are below 8 pixels; the smallest "
            f"size with at most {100 * LOST_SHARE:.0f} %{beside}."
        ]
    else:
        reasons = [
            f"Input {wanted.long_side}, as large as frames of {frame_wh[0]}x{frame_wh[1]} allow: even so "
            f"{100 * wanted.below_8:.1f} % of the ships are below 8 pixels."
        ]
    if budget_ms is None:
        return wanted, reasons
    affordable = [c for c in candidates if c.estimated_ms <= budget_ms]
    if not affordable:
        reasons.append(
            f"No size fits {budget_ms:g} ms: {candidates[0].long_side} pixels take about "
            f"{candidates[0].estimated_ms:.0f} ms. The smallest is taken; use a faster model or format."
        )
        return candidates[0], reasons
    if affordable[-1].long_side >= wanted.long_side:
        reasons.append(
            f"It takes about {wanted.estimated_ms:.0f} ms of {budget_ms:g} ms, by pixels from what was timed."
        )
        return wanted, reasons
    best = affordable[-1]
    reasons.append(
        f"{budget_ms:g} ms allow {best.long_side} pixels (about {best.estimated_ms:.0f} ms, by pixels from what was "
        f"timed): then {100 * best.below_8:.1f} % of the ships are below 8 pixels."
    )
    return best, reasons


def _choose_recipe(chosen: Candidate, large: float, tile: str) -> tuple[str, str]:
    small = f"{100 * chosen.below_16:.0f} % of the ships are below 16 pixels of the input (two cells of stride 8)"
    third = f"{100 * large:.1f} % are longer than a third of it"
    if tile in (ONE_ROW, TWO_ROWS):
        return "horizon-tiles", (
            "Recipe horizon-tiles, standard head, from COCO weights (--weights): what the released detector was "
            f"trained with. Tiles, not the head, bring ships below {SMALL_BELOW_PX} pixels nearer."
        )
    if chosen.below_16 < SMALL_SHARE:
        name = "tiles-and-frames" if chosen.long_side > CROP else "full-frames"
        return name, f"Recipe {name}, standard head: {small}, which needs no finer stride; {third}."
    if large <= LARGE_SHARE:
        return "far-ships-p2", (
            f"Recipe far-ships-p2, P2 head without predictions at stride 32: {small}, and {third}. Its head "
            "and part of its neck start from nothing even with COCO weights: for a short training take --recipe "
            "small-ships."
        )
    return (
        "small-ships",
        f"Recipe small-ships, standard head: {small}, but {third} and need stride 32. Try --model yolo26n-p2 (strides "
        "4 to 32) as well; it costs more time.",
    )


def _choose_tiles(
    chosen: Candidate, tiny: float, frame_wh: tuple[int, int], data: str, budget_ms: float | None
) -> tuple[str, str]:
    """``--tile`` of eval and detect, and why; ``tiny``: share of ships below 16 pixels of the frame itself."""
    if budget_ms is not None and chosen.estimated_ms > budget_ms:
        return "none", "No tiles when detecting: the whole frame alone takes more than the time there is."
    limit = "MS" if budget_ms is None else f"{budget_ms:g}"
    measure = (
        f"{_MEASURED} Beside tiles a smaller input will do. What pays on your frames: "
        f"wutdet bench tiling MODEL {shlex.quote(data)} --split val --within-ms {limit}."
    )
    if tiny >= SMALL_SHARE:
        return TWO_ROWS, (
            f"Tiles along the horizon when detecting (--tile {TWO_ROWS}), the second row enlarged, as crops are "
            f"in training: {100 * tiny:.0f} % of the ships are below {SMALL_BELOW_PX} pixels of the frame itself. "
            f"{measure}"
        )
    if chosen.below_16 >= SMALL_SHARE and chosen.long_side < max(frame_wh):
        return ONE_ROW, (
            f"Tiles along the horizon when detecting (--tile {ONE_ROW}): they show the frame at its own size, where "
            f"{100 * tiny:.0f} % of the ships are below {SMALL_BELOW_PX} pixels, not {100 * chosen.below_16:.0f} %. "
            f"{measure}"
        )
    if chosen.long_side > LONGEST_INPUT:
        return str(TILE), (
            f"Inputs of {chosen.long_side} pixels are looked at in tiles of {TILE} pixels of the frame (eval and "
            f"detect: --tile {TILE}); up to {LONGEST_INPUT} pixels one pass sees the same pixels once, without seams."
        )
    return "none", "No tiles when detecting: one pass at this size sees every pixel once, without seams."


def _crops(scale_side: int, long_share: np.ndarray, reasons: list[str]) -> dict:
    """Sizes of the training pictures; ``scale_side``: long side of the frame at the scale of its use."""
    if scale_side <= CROP:
        reasons.append(f"Whole frames of {scale_side} pixels are small enough to train on: no crops at a larger scale.")
        return {"imgsz": scale_side, "frame_size": None}
    cut = float((long_share * scale_side > CROP / 2).mean())
    whole = float(np.clip(np.round(0.1 + cut, 2), 0.1, 0.5))
    reasons.append(
        f"Trained on crops of {CROP} pixels out of frames of {scale_side}, the scale at which it will be used. "
        f"{100 * cut:.1f} % of the ships are longer than half a crop, so {100 * whole:.0f} % of the pictures show "
        "whole frames."
    )
    return {"imgsz": CROP, "frame_size": scale_side, "whole_frames": whole}


def _choose_balance(dataset: Dataset, reasons: list[str]) -> str:
    """What to balance by: the first of condition, source and sequence that is uneven."""
    for by in ("condition", "source", "sequence"):
        groups = groups_of(dataset, by)
        sizes = np.bincount(groups)
        if len(sizes) < 2 or sizes.max() * len(sizes) / sizes.sum() <= UNEVEN:
            continue
        shares = np.bincount(groups, weights=Balance(groups).shares)
        reasons.append(
            f"Balanced by {by}: of {len(sizes)} groups the largest holds {100 * sizes.max() / sizes.sum():.0f} % of "
            f"the frames; it then makes up {100 * shares.max():.0f} % of the pictures."
        )
        return by
    return "none"


def _command(data: str, settings: dict) -> str:
    """The training command; what the recipe says already is left out."""
    known = TrainConfig(**{"data": "", **settings_of(settings["recipe"]), "recipe": ""})
    words = ["wutdet", "train", data]
    for name, value in settings.items():
        if value != attrgetter(name)(known):
            words += ["--" + name.replace("_", "-"), str(value)]
    return shlex.join(words)
