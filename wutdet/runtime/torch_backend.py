"""Checkpoints on torch: ultralytics-style .pt files and safetensors state dicts. Needs the ``train`` extra."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wutdet.errors import ModelError, require
from wutdet.runtime.metadata import ArtefactMetadata, category_index, decode
from wutdet.runtime.offline import import_ultralytics

if TYPE_CHECKING:
    from wutdet.quantize.weights import PackedWeight

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A detection network ready for inference, and what is known of it.

    Attributes:
        model: ultralytics DetectionModel, float32, eval mode, batch norm folded, on the CPU.
        names: category names by index.
        stride: of which the sides of inputs are multiples, in pixels.
        imgsz: long side it was trained with in pixels (640 where unknown).
        max_scale: frames are enlarged at most so many times; None where it was trained without such a limit.
        end2end: the NMS-free head is in use.
        architecture: name of its definition, for example ``yolo26n``.
        provenance: what the file says of its origin (``license``, ``train_data``, ``threshold``, ...).
        digest: SHA-256 of the file.
        packed: low-bit weights of a network that was trained aware of them, by parameter name; ``model`` computes with
            the values they decode to.
        packed_inputs: it was trained to see the inputs of these layers in the weights' format too.
    """

    model: Any
    names: tuple[str, ...]
    stride: int
    imgsz: int
    end2end: bool
    architecture: str
    provenance: Mapping[str, Any]
    digest: str
    packed: Mapping[str, PackedWeight] = field(default_factory=dict)
    packed_inputs: bool = False
    max_scale: float | None = None


def load_checkpoint(
    path: Path, *, arch: str | None = None, category: str | None = None, head: str = "auto"
) -> Checkpoint:
    """Reads a .pt checkpoint (EMA weights where it has them) or a .safetensors state dict.

    Args:
        path: the file.
        arch: architecture of a state dict, for example ``yolo26n``; .pt files carry their own.
        category: keep only this category: the class layers lose all other channels, so nothing else can take places
            among the best boxes.
        head: ``auto`` and ``nms`` use the head that needs NMS, ``nms-free`` the other one of yolo26 and the like.

    Raises:
        ModelError: not a checkpoint, another task, a state dict that does not fit ``arch``, no such category.
        MissingExtraError: torch or ultralytics is not installed.
    """
    import_ultralytics()
    reader = _from_state_dict if path.suffix.lower() == ".safetensors" else _from_pt
    model, names, facts = reader(path, arch)
    return _ready(model, names, facts, path, category, head, hashlib.sha256(path.read_bytes()).hexdigest())


def from_architecture(arch: str) -> Checkpoint:
    """A network with seeded random weights and one category, for timing.

    Raises:
        ModelError: ultralytics has no such architecture.
        MissingExtraError: torch or ultralytics is not installed.
    """
    model = build_model(arch, 1)
    return _ready(model, ("ship",), {"architecture": arch, "imgsz": 640}, Path(arch), None, "auto", "")


def _ready(model, names, facts, path: Path, category: str | None, head: str, digest: str) -> Checkpoint:
    from ultralytics.nn.modules.head import Detect

    detect = model.model[-1]
    if not isinstance(detect, Detect) or getattr(model, "task", "detect") not in (None, "detect"):
        raise ModelError(
            f"not a detector: its last layer is {type(detect).__name__}",
            file=path,
            hint="wutdet reads ultralytics detection models (yolo26n, yolo11n, yolov8n, ...)",
        )
    has_nms_free = getattr(detect, "one2one_cv2", None) is not None
    if head == "nms-free" and not has_nms_free:
        raise ModelError("this architecture has no NMS-free head", file=path, hint="use head 'auto' or 'nms'")
    if has_nms_free:
        # The other head finds more ships (docs/log.md), has no limit of 300 boxes, and is ultralytics' own default.
        detect.end2end = head == "nms-free"
    model = model.float().eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    packed = {}
    if facts.get("quantised"):
        from wutdet.quantize.aware import pack_trained, put_packed

        packed = pack_trained(model, facts["quantised"])
        model.fuse(verbose=False)
        # Folding leaves out the head that is not in use.
        packed = {name: weight for name, weight in packed.items() if _has(model, name)}
        put_packed(model, packed)
    else:
        model.fuse(verbose=False)
    if category is not None:
        keep_category(detect, category_index(names, category, path))
        names = (category,)
    return Checkpoint(
        model=model,
        names=names,
        # Without predictions at stride 32, features of that stride are still computed and put together with finer ones.
        stride=max(int(max(model.stride)), 32),
        imgsz=int(facts.pop("imgsz", 640)),
        end2end=bool(detect.end2end),
        architecture=str(facts.pop("architecture", "") or ""),
        provenance=facts,
        digest=digest,
        packed=packed,
        packed_inputs=bool(packed) and bool(facts["quantised"].get("inputs")),
        max_scale=facts.pop("max_scale", None),
    )


def _has(model, parameter: str) -> bool:
    try:
        model.get_parameter(parameter)
    except AttributeError:
        return False
    return True


def keep_category(detect, index: int) -> None:
    """Cuts a fused Detect head's class layers down to one output channel, in place."""
    import torch

    branch = detect.one2one_cv3 if detect.end2end else detect.cv3
    for layers in branch:
        wide = layers[-1]
        narrow = torch.nn.Conv2d(wide.in_channels, 1, wide.kernel_size, wide.stride, wide.padding)
        narrow.weight = torch.nn.Parameter(wide.weight[index : index + 1].clone(), requires_grad=False)
        narrow.bias = torch.nn.Parameter(wide.bias[index : index + 1].clone(), requires_grad=False)
        layers[-1] = narrow
    detect.nc, detect.no = 1, 1 + 4 * detect.reg_max


def _from_pt(path: Path, arch: str | None):
    import pickle

    from ultralytics.nn.tasks import torch_safe_load

    try:
        # Only known model classes are rebuilt, so that a stranger's file cannot run code.
        content, _ = torch_safe_load(str(path.resolve()), safe_only=True)
    except (
        TypeError,
        RuntimeError,
        EOFError,
        ValueError,
        pickle.UnpicklingError,
        AttributeError,
        ImportError,
    ) as error:
        raise ModelError(
            f"not a readable checkpoint: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}",
            file=path,
            hint="expected an ultralytics-style .pt file (best.pt, last.pt of 'wutdet train')",
        ) from error
    model = None
    if isinstance(content, Mapping):
        model = content.get("ema") if content.get("ema") is not None else content.get("model")
    if model is None or not hasattr(model, "model") or not hasattr(model, "yaml"):
        found = f"keys {sorted(map(str, content))[:8]}" if isinstance(content, Mapping) else type(content).__name__
        raise ModelError(
            f"no ultralytics model in this checkpoint ({found})",
            file=path,
            hint="for bare weights use a .safetensors state dict with --arch",
        )
    names = model.names
    names = tuple(str(names[key]) for key in sorted(names)) if isinstance(names, Mapping) else tuple(map(str, names))
    train_args = content.get("train_args") or {}
    facts = {k: content[k] for k in ("license", "train_data", "architecture", "imgsz", "threshold") if content.get(k)}
    facts |= dict(content.get("wutdet") or {})
    facts.setdefault("imgsz", _int_or(train_args.get("imgsz"), 640))
    facts.setdefault("architecture", Path(str(model.yaml.get("yaml_file", ""))).stem)
    scale = model.yaml.get("scale", "")
    if scale and facts["architecture"] and not facts["architecture"].endswith(scale):
        facts["architecture"] += scale
    return model, names, facts


def _from_state_dict(path: Path, arch: str | None):
    if not arch:
        raise ModelError(
            "a .safetensors state dict does not say what network it belongs to",
            file=path,
            hint="name it, for example --arch yolo26n",
        )
    require("safetensors", "train")
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"not a readable safetensors file: {error}", file=path) from error
    count = _category_count(state)
    if not count:
        raise ModelError(
            "no class layers of a YOLO detection head in this state dict",
            file=path,
            hint="the keys must be those of an ultralytics DetectionModel",
        )
    model = build_model(arch, count)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    own = model.state_dict()
    wrong = [k for k, v in state.items() if k in own and own[k].shape != v.shape]
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    if wrong or missing or any(k not in own for k in state):
        raise ModelError(
            f"the state dict does not fit '{arch}': {len(missing)} tensors missing, "
            f"{sum(k not in own for k in state)} unknown, {len(wrong)} of another shape"
            + (f" (first: {(wrong + missing)[0]})" if wrong or missing else ""),
            file=path,
            hint="give the right --arch",
        )
    model.load_state_dict(state, strict=False)  # num_batches_tracked may be missing
    names = decode(notes["names"]) if "names" in notes else None
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names, key=int)]
    if not names:
        names = coco_names() if count == 80 else [f"class{i}" for i in range(count)] if count > 1 else ["ship"]
    facts = {key: value for key, value in notes.items() if key not in ("names", "format")}
    facts["imgsz"] = _int_or(facts.get("imgsz"), 640)
    facts["architecture"] = arch
    return model, tuple(map(str, names)), facts


def build_model(arch: str, categories: int):
    """A fresh ultralytics DetectionModel with seeded random weights.

    Raises:
        ModelError: ultralytics has no such architecture.
    """
    import_ultralytics()
    import torch
    from ultralytics.nn.tasks import DetectionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return DetectionModel(
                arch if arch.endswith((".yaml", ".yml")) else f"{arch}.yaml", nc=categories, verbose=False
            )
        except FileNotFoundError as error:
            raise ModelError(
                f"ultralytics has no architecture '{arch}'", hint="names are like yolo26n, yolo11s, yolov8n"
            ) from error


def coco_names() -> list[str]:
    """The 80 COCO category names in ultralytics' order, from its own data description."""
    import yaml
    from ultralytics.utils import ROOT

    names = yaml.safe_load((ROOT / "cfg" / "datasets" / "coco.yaml").read_text("utf-8"))["names"]
    return [names[index] for index in range(80)]


def _category_count(state: Mapping[str, Any]) -> int:
    """Number of categories of a state dict: channels of the last layer of the class branch; 0 where there is none."""
    keys = [key for key in state if ".cv3.0." in key and key.endswith(".bias")]
    last = max(keys, key=lambda key: [int(p) if p.isdigit() else -1 for p in key.split(".")], default=None)
    return 0 if last is None else int(state[last].shape[0])


def _int_or(value, default: int) -> int:
    if isinstance(value, (list, tuple)):
        value = max(value)
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


class TorchBackend:
    """One checkpoint on torch; same interface as OnnxBackend.

    Attributes:
        metadata: what the checkpoint says of itself.
        fixed_input_wh: ``None``: any multiple of the stride is taken.
        batch: largest number of frames per call.
        packed: low-bit weights of a network that was trained aware of them, by parameter name.
    """

    name = "torch"
    fixed_input_wh = None

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 0,
        arch: str | None = None,
        device: str = "auto",
        category: str | None = None,
        head: str = "auto",
        max_det: int = 300,
    ):
        checkpoint = load_checkpoint(path, arch=arch, category=category, head=head)
        import torch

        self.torch = torch
        if threads > 0:
            torch.set_num_threads(threads)
        self.device = torch_device(device)
        detect = checkpoint.model.model[-1]
        detect.export = True  # the output alone, without the raw heads
        # The NMS-free head ranks inside the network; its limit must not be below what the caller wants.
        detect.max_det = max(300, max_det)
        self.model = checkpoint.model.to(self.device)
        self.batch = 1 if self.device.type == "cpu" else 8
        self.packed, self.packed_inputs = checkpoint.packed, checkpoint.packed_inputs
        self.metadata = ArtefactMetadata(
            names=checkpoint.names,
            imgsz_hw=(checkpoint.imgsz, checkpoint.imgsz),
            stride=checkpoint.stride,
            end2end=checkpoint.end2end,
            architecture=checkpoint.architecture,
            source_digest=checkpoint.digest,
            license=str(checkpoint.provenance.get("license", "unknown")),
            train_data=str(checkpoint.provenance.get("train_data", "")),
            threshold=checkpoint.provenance.get("threshold"),
            max_scale=checkpoint.max_scale,
        )

    def infer(self, images: np.ndarray) -> np.ndarray:
        """float32 output of float32 [B, 3, H, W] input."""
        with self.torch.inference_mode():
            return self.model(self.torch.from_numpy(images).to(self.device)).float().cpu().numpy()


def torch_device(device: str):
    """The torch device that ``auto``, ``cpu``, ``0``, ``cuda:1`` mean.

    Raises:
        ModelError: torch cannot use it here.
    """
    import torch

    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    name = f"cuda:{device}" if device.isdigit() else device
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"unknown device '{device}'", hint="use auto, cpu, or a GPU's number") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device '{device}' is a GPU, but torch sees none here", hint="use device auto or cpu")
    return chosen
