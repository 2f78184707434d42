"""Models by name and starting weights; where class counts differ, the head starts from the closest class."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml
from torch import nn

import wutdet
from wutdet.errors import ModelError, suggest
from wutdet.runtime.offline import import_ultralytics
from wutdet.train import checkpoint

_log = logging.getLogger(__name__)

#: Classes that a ship may start from, best first, where no class of the same name exists.
SHIP_LIKE = ("ship", "boat", "vessel", "watercraft", "sea")
#: Activations of convolutions, as model definitions write them.
ACTIVATIONS = {"silu": "torch.nn.SiLU()", "relu": "torch.nn.ReLU()"}
_HEADS = ("Detect", "v10Detect")


def own_definitions() -> list[Path]:
    """The model definitions of this project: in the installed package, or in ``models/`` of a checkout."""
    package = Path(wutdet.__file__).parent
    folder = package / "models" if (package / "models").is_dir() else package.parent / "models"
    return sorted(folder.glob("yolo*.yaml"))


def known_architectures() -> dict[str, Path]:
    """Name to yaml file of every detection architecture that the installed ultralytics or this project brings."""
    folder = Path(import_ultralytics().__file__).parent / "cfg" / "models"
    found: dict[str, Path] = {}
    for file in own_definitions():
        for scale in yaml.safe_load(file.read_text("utf-8"))["scales"]:
            found[re.sub(r"^(yolov?\d+)[nslmx]?", rf"\g<1>{scale}", file.stem)] = file
    for file in sorted(folder.rglob("*.yaml")):
        content = yaml.safe_load(file.read_text("utf-8"))
        if content["head"][-1][2] not in _HEADS:
            continue
        # yolo26.yaml stands for yolo26n, yolo26s, ...; yolov10n.yaml and yolov9t.yaml say their size themselves.
        scales = () if re.match(r"yolov?\d+[a-z]", file.stem) else content.get("scales") or ()
        for scale in scales:
            found[re.sub(r"^(yolov?\d+)", rf"\g<1>{scale}", file.stem)] = file
        if not scales:
            found[file.stem] = file
    return found


def architecture(name: str) -> dict:
    """The parsed model definition of an architecture name (``yolo26n``, ``yolo26n-p2``) or of a yaml file.

    Raises:
        ModelError: no such name or file, or not a detection model.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and (path.exists() or path.parent != Path(".")):
        try:
            content = yaml.safe_load(path.read_text("utf-8"))
        except OSError as error:
            raise ModelError(f"cannot read the model definition ({error.strerror})", file=path) from error
        except yaml.YAMLError as error:
            line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
            raise ModelError(f"not valid YAML: {getattr(error, 'problem', error)}", file=path, line=line) from error
        if not isinstance(content, dict) or not content.get("backbone") or not content.get("head"):
            raise ModelError("not a model definition: 'backbone' or 'head' is missing", file=path)
        if content["head"][-1][2] not in _HEADS:
            raise ModelError(f"the last layer is '{content['head'][-1][2]}', expected one of {_HEADS}", file=path)
        scale = re.search(r"yolov?\d+([nslmx])", path.stem)
        return {**content, "scale": scale.group(1) if scale else "", "yaml_file": path.name}
    known = known_architectures()
    stem = path.stem if path.suffix in (".yaml", ".yml") else name
    if stem not in known:
        raise ModelError(
            f"unknown architecture '{name}'.{suggest(stem, known)}",
            hint=f"{len(known)} are known, for example yolo26n, yolo26n-p2, yolo11n; or name a .yaml or .pt file",
        )
    content = yaml.safe_load(known[stem].read_text("utf-8"))
    scale = re.search(r"yolov?\d+([nslmx])", stem) if content.get("scales") else None
    return {**content, "scale": scale.group(1) if scale else "", "yaml_file": f"{stem}.yaml"}


def coco_names() -> dict[int, str]:
    """The 80 class names of COCO-trained ultralytics weights, by index."""
    file = Path(import_ultralytics().__file__).parent / "cfg" / "datasets" / "coco.yaml"
    return dict(yaml.safe_load(file.read_text("utf-8"))["names"])


def new_model(definition: Mapping, class_count: int) -> nn.Module:
    """An ultralytics ``DetectionModel`` with freshly drawn weights (torch's global generator)."""
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    return DetectionModel(dict(definition), nc=class_count, verbose=False)


def read_state(file: str | Path) -> dict[str, torch.Tensor]:
    """A .safetensors state dict as float32 tensors (integer tensors as they are).

    Raises:
        ModelError: no such file, or not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = _existing(file)
    try:
        state = load_file(str(file))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"not a safetensors file ({error})", file=file) from error
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def read_checkpoint(file: str | Path) -> nn.Module:
    """The float32 model (averaged weights where there are any) out of a .pt checkpoint.

    Raises:
        ModelError: no such file, or not an ultralytics detection checkpoint.
    """
    content = checkpoint.load(_existing(file))
    model = content.get("ema") or content.get("model")
    if not isinstance(model, nn.Module) or not hasattr(model, "model") or not hasattr(model.model[-1], "nc"):
        raise ModelError("no detection model in this checkpoint", file=file, hint="expected a .pt of 'wutdet train'")
    return model.float()


def _existing(file: str | Path) -> Path:
    file = Path(file)
    if not file.is_file():
        raise ModelError(
            "no such weights file; nothing is downloaded",
            file=file,
            hint=f"put the file at {file.absolute()}, or give another path; leave --weights out to train from scratch",
        )
    return file


def build(model: str, weights: Path | None, names: Sequence[str], activation: str = "silu") -> nn.Module:
    """The model to train: architecture or checkpoint ``model``, starting from ``weights`` where given.

    Args:
        model: architecture name, model .yaml, or checkpoint .pt.
        weights: .pt or .safetensors, or None.
        names: our category names, by index.
        activation: of the convolutions, a key of ``ACTIVATIONS``; a checkpoint keeps its own.

    Raises:
        ModelError: unknown architecture, missing or foreign file, or weights that fit nothing.
    """
    if Path(model).suffix == ".pt":
        if activation != "silu":
            raise ModelError(
                f"a checkpoint keeps its activations, and {activation} was asked for",
                file=model,
                hint="name an architecture as --model; its --weights may come from a checkpoint",
            )
        built = read_checkpoint(model)
        source_names = dict(built.names)
        if weights is not None:
            raise ModelError(
                f"both a checkpoint ({model}) and --weights {weights} are given",
                hint="name the architecture as --model, or leave --weights out",
            )
    elif weights is None:
        built = new_model(_with_activation(architecture(model), activation), len(names))
        source_names = dict(enumerate(names))
    else:
        built, source_names = _from_weights(_with_activation(architecture(model), activation), Path(weights), names)
    adapt_classes(built, source_names, names)
    return built.float().train()


def _with_activation(definition: dict, activation: str) -> dict:
    return definition if activation == "silu" else {**definition, "activation": ACTIVATIONS[activation]}


def _from_weights(definition: dict, weights: Path, names: Sequence[str]) -> tuple[nn.Module, dict[int, str]]:
    """A model of this architecture holding the weights, and the names of its classes."""
    if weights.suffix == ".pt":
        loaded = read_checkpoint(weights)
        state, source_names = loaded.state_dict(), dict(loaded.names)
    else:
        state, source_names = read_state(weights), None
    class_count = _class_count(state)
    if source_names is None:
        if class_count == len(names):
            source_names = dict(enumerate(names))
        elif class_count == 80:
            source_names = coco_names()
        else:
            source_names = {index: f"class{index}" for index in range(class_count)}
    built = new_model(definition, class_count or len(names))
    own = built.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    learned = [key for key, _ in built.named_parameters()]
    loaded_count = sum(key in fitting for key in learned)
    if loaded_count < 0.2 * len(learned):
        raise ModelError(
            f"only {loaded_count} of {len(learned)} tensors fit the architecture {definition['yaml_file']}",
            file=weights,
            hint="name the architecture that these weights were trained with (--model)",
        )
    built.load_state_dict(fitting, strict=False)
    _log.info("weights %s: %d of %d tensors taken", weights, loaded_count, len(learned))
    return built, source_names


def _class_count(state: Mapping[str, torch.Tensor]) -> int:
    """Number of classes of the head in a state dict; 0 where it has no such head."""
    heads = [key for key in state if re.fullmatch(r"model\.\d+\.cv3\.0\.\d+\.bias", key)]
    return int(state[heads[-1]].shape[0]) if heads else 0


def class_layers(head: nn.Module) -> list[tuple[nn.Sequential, nn.Conv2d]]:
    """The class branches of a head with their last convolutions: every level, both branches of an end-to-end head."""
    branches = [getattr(head, name, None) for name in ("cv3", "one2one_cv3")]
    return [(level, level[-1]) for branch in branches if branch is not None for level in branch]


def adapt_classes(model: nn.Module, source_names: Mapping[int, str], names: Sequence[str]) -> None:
    """Makes the head predict ``names``: each starts from the channel of its namesake, else of a ship-like class.

    Only the last convolution of each class branch changes; everything before it, hidden width included, stays as
    trained, so the score of the chosen channel is exactly what it was.

    Raises:
        ModelError: the class layers are not where ultralytics' heads have them.
    """
    head = model.model[-1]
    chosen = _channels(source_names, names)
    if [source_names.get(index) for index in range(head.nc)] != list(names):
        if chosen is None:
            raise ModelError(
                f"no class to start {list(names)} from among {list(source_names.values())[:8]}",
                hint=f"a class of the same name or one of {SHIP_LIKE} is needed",
            )
        for level, last in class_layers(head):
            if not isinstance(last, nn.Conv2d) or last.out_channels != head.nc:
                raise ModelError(f"a class branch ends in {type(last).__name__}, expected a convolution to {head.nc}")
            level[-1] = _sliced(last, chosen)
        _log.info("classes %s start from %s", list(names), [source_names[c] for c in chosen])
    head.nc = len(names)
    head.no = head.nc + 4 * head.reg_max
    model.nc, model.names = head.nc, dict(enumerate(names))
    model.yaml = {**model.yaml, "nc": head.nc}


def _channels(source_names: Mapping[int, str], names: Sequence[str]) -> list[int] | None:
    index = {name: number for number, name in reversed(list(source_names.items()))}
    fallback = next((index[name] for name in SHIP_LIKE if name in index), None)
    if fallback is None and len(source_names) == 1:
        fallback = 0
    chosen = [index.get(name, fallback) for name in names]
    return None if None in chosen else chosen


def _sliced(conv: nn.Conv2d, channels: Sequence[int]) -> nn.Conv2d:
    """The same convolution with only these output channels."""
    new = nn.Conv2d(conv.in_channels, len(channels), conv.kernel_size, conv.stride, conv.padding)
    with torch.no_grad():
        new.weight.copy_(conv.weight[list(channels)])
        new.bias.copy_(conv.bias[list(channels)])
    return new
