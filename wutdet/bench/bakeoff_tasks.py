"""What the bake-off trains: a small ship detector and a small character-level transformer, with their data.

Both are small enough for a CPU. Channel widths are multiples of 64, so that the groups of every format are full.
"""

from __future__ import annotations

import ast
import hashlib
import logging
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from wutdet.files import atomic_path

log = logging.getLogger(__name__)

#: Input of the detector and its stride, pixels.
WIDTH, HEIGHT, STRIDE = 160, 96, 8
#: Rendered sequences (a frame each) to train on and to hold out, and crops of each.
_SEQUENCES, _HELD_OUT, _CROPS = 48, 16, 16
#: Characters that the transformer sees at once.
CONTEXT = 64
_WIDTH, _HEADS, _LAYERS = 128, 4, 2

#: Modules of the standard library whose docstrings are the transformer's text.
_MODULES = """
argparse ast bisect calendar collections configparser contextlib copy csv dataclasses datetime decimal difflib
dis doctest email.message enum fractions functools gettext heapq http.client http.server inspect ipaddress
json locale logging mailbox numbers optparse os pathlib pdb pickle platform posixpath pprint queue random re
sched selectors shutil smtplib socket statistics string subprocess tarfile tempfile
"""
_HELD_OUT_MODULES = """
textwrap threading tokenize turtle typing unittest.case urllib.request zipfile
"""


@dataclass(frozen=True)
class Task:
    """A model and its data.

    Attributes:
        name: "detector" or "transformer".
        train: what batches are drawn from, by their first axis.
        held_out: the same, fixed batches of it are evaluated.
        batch: elements of a batch.
        rate: peak learning rate of AdamW.
        digest: SHA-256 (first 16 digits) of the data.
    """

    name: str
    train: tuple[torch.Tensor, ...]
    held_out: tuple[torch.Tensor, ...]
    batch: int
    rate: float
    digest: str

    def model(self) -> nn.Module:
        """A new model, from torch's current seed."""
        return Detector() if self.name == "detector" else Transformer()

    def loss(self, model: nn.Module, part: tuple[torch.Tensor, ...], rows: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch."""
        device = next(model.parameters()).device
        if self.name == "transformer":
            text = part[0]
            windows = text[rows[:, None] + torch.arange(CONTEXT + 1)].to(device).long()
            return F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        pictures, targets = part[0][rows].to(device), part[1][rows].to(device)
        return detector_loss(model(pictures.float() / 255 - 0.5), targets)

    def rows(self, part: tuple[torch.Tensor, ...]) -> int:
        """How many elements a batch is drawn from."""
        return len(part[0]) - (CONTEXT if self.name == "transformer" else 0)


def task(name: str, folder: Path) -> Task:
    """The task of a name; data that must be made is kept in ``folder``."""
    if name == "transformer":
        train, held_out = _text(_MODULES), _text(_HELD_OUT_MODULES)
        return Task(name, (train,), (held_out,), 8, 2e-3, _digest(train, held_out))
    crops = folder / "crops.npz"
    if not crops.exists():
        _render_crops(folder, crops)
    with np.load(crops) as data:
        parts = [tuple(torch.from_numpy(data[f"{part}_{kind}"]) for kind in ("x", "y")) for part in ("train", "held")]
    return Task(name, *parts, 8, 2e-3, _digest(*parts[0], *parts[1]))


class Detector(nn.Module):
    """uint8-range pictures [B, 3, 96, 160] -> [B, 5, 12, 20]: ship score (logit), then distances from the cell's centre
    to the box's left, top, right and bottom, as logarithms of strides. One stage, 0.15 million parameters."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 4, bias=False), nn.BatchNorm2d(64), nn.SiLU()]
        for stride in (2, 1, 1, 1):
            layers += [nn.Conv2d(64, 64, 3, stride, 1, bias=False), nn.BatchNorm2d(64), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(64, 5, 1)
        nn.init.constant_(self.head.bias, 0.0)
        with torch.no_grad():
            self.head.bias[0] = -4.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def detector_loss(found: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Focal loss of the score (alpha 0.25, gamma 2, by number of ships) plus smooth L1 of the distances.

    Args:
        found: of ``Detector``.
        targets: float32 [B, 5, 12, 20]: 1 in cells that hold a ship's centre, then the logarithms of distances.
    """
    ship = targets[:, 0]
    count = ship.sum().clamp(min=1)
    cross = F.binary_cross_entropy_with_logits(found[:, 0], ship, reduction="none")
    right = torch.exp(-cross)
    weight = torch.where(ship > 0, 0.25, 0.75)
    score = (weight * (1 - right) ** 2 * cross).sum() / count
    distance = F.smooth_l1_loss(found[:, 1:], targets[:, 1:], reduction="none", beta=0.1).sum(1)
    return score + 0.25 * (distance * ship).sum() / count


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.qkv, self.project = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.up, self.down = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Decoder, characters [B, T] -> logits [B, T, 96]: 2 layers, width 128, 4 heads, pre-norm, 0.4 million
    parameters. All linear layers of the blocks can be low-bit; embeddings, norms, attention and output stay float."""

    def __init__(self):
        super().__init__()
        self.characters = nn.Embedding(96, _WIDTH)
        self.positions = nn.Parameter(torch.randn(CONTEXT, _WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(_Block() for _ in range(_LAYERS)))
        self.norm, self.output = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, 96)
        nn.init.normal_(self.characters.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.norm(self.blocks(self.characters(x) + self.positions[: x.shape[1]])))


def _text(modules: str) -> torch.Tensor:
    """uint8 [N], 0..95: docstrings of modules (names with spaces between), their classes and functions; 0 for line
    ends, others from space on."""
    library, found = Path(sysconfig.get_path("stdlib")), []
    for name in modules.split():
        place = library / name.replace(".", "/")
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found.append(ast.get_docstring(node) or "")
    text = "\n".join(filter(None, found)).encode("ascii", "replace")
    codes = np.frombuffer(text, np.uint8).astype(np.int16) - 31
    return torch.from_numpy(np.where((codes < 1) | (codes > 95), 0, codes).astype(np.uint8))


def _render_crops(folder: Path, file: Path) -> None:
    """Crops around ships at half the rendered resolution or a little less, and their targets, into an .npz file."""
    from wutdet.scenes.render import render_dataset

    log.info("rendering %d scenes for the detector", _SEQUENCES + _HELD_OUT)
    dataset = render_dataset(folder / "scenes", sequences=_SEQUENCES + _HELD_OUT, frames=1, seed=0, size="1080p")
    rng = np.random.default_rng(0)
    parts: dict[str, list] = {"train_x": [], "train_y": [], "held_x": [], "held_y": []}
    for row in range(len(dataset)):
        boxes = dataset.xyxy[dataset.box_rows(row)]
        if not len(boxes):
            continue
        frame = dataset.read_image(row)
        part = "train" if row < _SEQUENCES else "held"
        for _ in range(_CROPS):
            picture, target = _crop(frame, boxes, rng)
            parts[f"{part}_x"].append(picture)
            parts[f"{part}_y"].append(target)
    with atomic_path(file) as temporary, open(temporary, "wb") as out:
        np.savez_compressed(out, **{name: np.stack(values) for name, values in parts.items()})


def _crop(frame: np.ndarray, boxes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [3, 96, 160] RGB and float32 [5, 12, 20]."""
    scale = rng.uniform(0.3, 0.6)
    x1, y1, x2, y2 = boxes[rng.integers(len(boxes))] * scale
    left = rng.uniform(0.2, 0.8) * WIDTH - (x1 + x2) / 2
    top = rng.uniform(0.2, 0.8) * HEIGHT - (y1 + y2) / 2
    matrix = np.array([[scale, 0, left], [0, scale, top]])
    grey = (114, 114, 114)
    picture = cv2.warpAffine(frame, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderValue=grey)
    target = np.zeros((5, HEIGHT // STRIDE, WIDTH // STRIDE), np.float32)
    for box in boxes * scale + (left, top, left, top):
        column, row = (box[:2] + box[2:]) / 2 // STRIDE
        if 0 <= column < target.shape[2] and 0 <= row < target.shape[1]:
            column, row = int(column), int(row)
            centre = (np.array([column, row]) + 0.5) * STRIDE
            distances = np.concatenate([centre - box[:2], box[2:] - centre]) / STRIDE
            target[:, row, column] = [1, *np.log(np.maximum(distances, 1 / 16))]
    return np.ascontiguousarray(picture[:, :, ::-1].transpose(2, 0, 1)), target


def _digest(*tensors: torch.Tensor) -> str:
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()[:16]
