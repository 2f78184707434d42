"""``wutdet bench bakeoff``: the same models trained in float32 and by low-bit recipes, from the same seeds.

Reported is the relative loss error of a recipe, (L - L_float32) / L_float32, per seed, of the training loss (mean of
the last tenth of the steps) and of the loss on held-out data, as arXiv 2604.08826 does for language models of 1 to 30
billion parameters. What is trained here is tiny (``wutdet.bench.bakeoff_tasks``).
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from wutdet.bench.bakeoff_tasks import task
from wutdet.config import BakeoffConfig
from wutdet.errors import DataError, UsageError
from wutdet.files import write_json, write_text
from wutdet.report.charts import Series, line_chart
from wutdet.train.lowbit import apply_recipe, recipe

log = logging.getLogger(__name__)

SCHEMA = "wutdet.bench-bakeoff/1"
BASELINE = "float32"
TASKS = ("detector", "transformer")
#: Points of a curve; each is the mean of its part of the steps.
_POINTS = 60
_HELD_OUT_BATCHES = 24


@dataclass(frozen=True)
class BakeoffResult:
    """What was trained.

    Attributes:
        facts: machine, versions and sizes.
        runs: one per task, recipe and seed: final_loss, held_out_loss, curve, seconds, ...
    """

    facts: Mapping
    runs: Sequence[Mapping]

    def table(self) -> list[dict]:
        """Per task and recipe: seeds, mean loss, and mean and standard deviation of the relative errors, in percent
        (None where there is no baseline or, for the deviation, a single seed)."""
        rows = []
        for name in dict.fromkeys(run["task"] for run in self.runs):
            mine = [run for run in self.runs if run["task"] == name]
            base = {run["seed"]: run for run in mine if run["recipe"] == BASELINE}
            for label in dict.fromkeys(run["recipe"] for run in mine):
                runs = [run for run in mine if run["recipe"] == label]
                row = {"task": name, "recipe": label, "seeds": len(runs)}
                for kind in ("final_loss", "held_out_loss"):
                    values = [run[kind] for run in runs]
                    row[kind] = None if None in values else float(np.mean(values))
                    pairs = [(run[kind], base[run["seed"]][kind]) for run in runs if run["seed"] in base]
                    errors = [100 * (a - b) / b for a, b in pairs if a is not None and b is not None]
                    complete = len(errors) == len(runs)
                    row[f"{kind}_error"] = float(np.mean(errors)) if complete else None
                    row[f"{kind}_error_sd"] = float(np.std(errors, ddof=1)) if complete and len(errors) > 1 else None
                row["ms_per_step"] = 1000 * float(np.median([run["seconds"] / run["steps"] for run in runs]))
                rows.append(row)
        return rows

    def to_text(self) -> str:
        return "\n".join([*self.markdown(), "", "errors in percent of float32's loss, mean and deviation over seeds"])

    def markdown(self) -> list[str]:
        """The table as lines of Markdown."""
        lines = [
            "| model | recipe | seeds | training loss | error % | held-out loss | error % | ms/step |",
            "|---|---|---:|---:|---:|---:|---:|---:|",
        ]
        for row in self.table():
            cells = [row["task"], row["recipe"], str(row["seeds"])]
            for kind in ("final_loss", "held_out_loss"):
                cells.append("diverged" if row[kind] is None else f"{row[kind]:.4f}")
                cells.append(_with_spread(row[f"{kind}_error"], row[f"{kind}_error_sd"]))
            lines.append("| " + " | ".join([*cells, f"{row['ms_per_step']:.0f}"]) + " |")
        return lines

    def to_json(self) -> dict:
        return {
            "schema": SCHEMA,
            "facts": dict(self.facts),
            "table": self.table(),
            "runs": [dict(run) for run in self.runs],
        }


def run_bakeoff(config: BakeoffConfig) -> BakeoffResult:
    """Trains what the output folder does not hold yet, and writes table, rows and curves there.

    Writes ``runs.jsonl`` (a line per finished run, as soon as it is finished), ``bakeoff.json``, ``table.md`` and
    ``curve-TASK.svg``.

    Raises:
        UsageError: an unknown recipe or task, or numbers out of range.
        DataError: the folder holds runs of other settings.
    """
    _check(config)
    config.out.mkdir(parents=True, exist_ok=True)
    load = _load()
    steps = {"detector": config.detector_steps, "transformer": config.transformer_steps}
    digests = {name: task(name, config.out).digest for name in config.tasks}
    file = config.out / "runs.jsonl"
    done = _read(file, steps, digests)
    # Seeds outermost: what is cut off has all recipes for fewer seeds.
    wanted = [(name, label, seed) for seed in range(config.seeds) for name in config.tasks for label in config.recipes]
    todo = [key for key in wanted if key not in done]
    log.info("%d runs, %d of them done already", len(wanted), len(wanted) - len(todo))
    jobs = [(name, label, seed, steps[name], str(config.out), config.threads) for name, label, seed in todo]
    started = time.monotonic()
    for number, row in enumerate(_train_all(jobs, config.workers), 1):
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
        done[row["task"], row["recipe"], row["seed"]] = row
        _write(config, _result(done, wanted, load))
        left = (time.monotonic() - started) / number * (len(jobs) - number)
        log.info(
            "%d of %d: %s %s seed %d: %s in %.0f s, about %.0f s left",
            *(number, len(jobs), row["task"], row["recipe"], row["seed"]),
            *(row["final_loss"], row["seconds"], left),
        )
    result = _result(done, wanted, load)
    _write(config, result)
    return result


def train(name: str, label: str, seed: int, steps: int, folder: Path, threads: int) -> dict:
    """One run. The seed fixes starting weights and batches, alike for every recipe; AdamW (weight decay 0.01), warm-up
    over the first twentieth, then a cosine to a tenth of the rate, gradients clipped to norm 1."""
    torch.set_num_threads(threads)
    work = task(name, folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    model = work.model()
    swapped = [] if label == BASELINE else apply_recipe(model, recipe(label), seed=seed)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=work.rate, weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    started = time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = work.rate * _schedule(step, steps)
        rows = torch.randint(work.rows(work.train), (work.batch,), generator=generator)
        loss = work.loss(model, work.train, rows)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            log.warning("%s %s seed %d: loss %s at step %d, stopped", name, label, seed, losses[-1], step)
            break
    seconds = time.perf_counter() - started
    finished = len(losses) == steps and math.isfinite(losses[-1])
    return {
        "task": name,
        "recipe": label,
        "seed": seed,
        "steps": steps,
        "data": work.digest,
        "final_loss": float(np.mean(losses[-max(1, steps // 10) :])) if finished else None,
        "held_out_loss": _finite(_held_out(work, model)) if finished else None,
        "curve": [_finite(float(np.mean(part))) for part in np.array_split(losses, min(_POINTS, len(losses)))],
        "low_bit_layers": len(swapped),
        "device": str(device),
        "seconds": round(seconds, 2),
    }


def _held_out(work, model) -> float:
    """Loss on fixed batches, the same for all runs; the forward products stay those of the recipe."""
    model.eval()
    generator = torch.Generator().manual_seed(1)
    losses = []
    with torch.no_grad():
        for _ in range(_HELD_OUT_BATCHES):
            rows = torch.randint(work.rows(work.held_out), (2 * work.batch,), generator=generator)
            losses.append(float(work.loss(model, work.held_out, rows)))
    return float(np.mean(losses))


def _schedule(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _train_all(jobs: Sequence[tuple], workers: int) -> Iterator[dict]:
    """Rows of finished runs, in the order in which they finish."""
    if workers == 1 or len(jobs) < 2:
        yield from (train(*job[:4], Path(job[4]), job[5]) for job in jobs)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        for future in as_completed([pool.submit(train, *job[:4], Path(job[4]), job[5]) for job in jobs]):
            yield future.result()
    finally:
        # What waits is not begun: Ctrl-C loses the runs in progress alone.
        pool.shutdown(wait=False, cancel_futures=True)


def _read(file: Path, steps: Mapping[str, int], digests: Mapping[str, str]) -> dict[tuple, dict]:
    """Finished runs by task, recipe and seed; a last line that was cut off does not count."""
    done: dict[tuple, dict] = {}
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise DataError(f"not JSON ({error.msg})", file=file, line=number) from error
            log.warning("%s: the last line was cut off and is dropped", file)
            write_text(file, "".join(f"{line}\n" for line in lines[:-1]))
    for number, row in enumerate(rows, 1):
        name = row["task"]
        if row["steps"] != steps[name] or row["data"] != digests.get(name, row["data"]):
            raise DataError(
                f"holds a run of other settings ({name}, {row['steps']} steps, data {row['data']})",
                file=file,
                line=number,
                hint="give another --bakeoff.out, or the same steps",
            )
        done[name, row["recipe"], row["seed"]] = row
    return done


def _result(done: Mapping[tuple, dict], wanted: Sequence[tuple], load: float | None) -> BakeoffResult:
    facts = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "load_1min_before": load,
        "load_1min_after": _load(),
        "wanted": len(wanted),
    }
    return BakeoffResult(facts, [done[key] for key in sorted(wanted, key=_order(wanted)) if key in done])


def _order(wanted: Sequence[tuple]):
    tasks, labels = (list(dict.fromkeys(key[i] for key in wanted)) for i in (0, 1))
    return lambda key: (tasks.index(key[0]), labels.index(key[1]), key[2])


def _write(config: BakeoffConfig, result: BakeoffResult) -> None:
    write_json(config.out / "bakeoff.json", result.to_json())
    write_text(config.out / "table.md", "\n".join(result.markdown()) + "\n")
    for name in config.tasks:
        series = []
        for label in config.recipes:
            runs = [run for run in result.runs if (run["task"], run["recipe"]) == (name, label)]
            curves = [run["curve"] for run in runs if None not in run["curve"]]
            length = min(map(len, curves), default=0)
            if length:
                steps = runs[0]["steps"] * (np.arange(length) + 0.5) / len(curves[0])
                mean = np.mean([curve[:length] for curve in curves], axis=0)
                series.append(Series(label, steps.tolist(), mean.tolist()))
        if series:
            title = f"Training loss of the {name}, mean over seeds"
            chart = line_chart(title, series, x_label="step", y_label="loss", x_integer=True)
            write_text(config.out / f"curve-{name}.svg", chart)


def _check(config: BakeoffConfig) -> None:
    for name in config.tasks:
        if name not in TASKS:
            raise UsageError(f"no model '{name}' in the bake-off", hint=f"one of {', '.join(TASKS)}")
    for label in config.recipes:
        recipe(label)
    numbers = (config.seeds, config.detector_steps, config.transformer_steps, config.workers, config.threads)
    if min(numbers) < 1:
        raise UsageError(f"seeds, steps, workers and threads must be at least 1, received {numbers}")


def _with_spread(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:+.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
