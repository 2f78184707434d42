"""Every default of wutdet, once: one frozen dataclass per command.

One file on purpose, though longer than most: a default has one place to be looked up.

The command line (``wutdet/cli.py``), the ``config.json`` saved in run folders and ``docs/cli.md`` are all derived
from these classes, so a default changed here changes everywhere. A field's docstring is its help text.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

Format = Literal["auto", "voc", "coco", "yolo", "smd", "cvat", "labelme"]


def to_json(config) -> dict:
    """A configuration as JSON-compatible values."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    return plain(asdict(config))


# --- data ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RenderConfig:
    """Render labelled sea scenes: a COCO data set with sequences, scenes and conditions."""

    out: Positional[Path]
    """Folder to write: images/, annotations/all.json and README.md. An unfinished folder is continued."""
    sequences: int = 12
    """Number of sequences; scenes and conditions are dealt out evenly over them."""
    frames: int = 12
    """Frames per sequence."""
    seed: int = 0
    """Same seed, same data, on any machine."""
    size: Literal["1080p", "1440p", "mixed"] = "1080p"
    """Frame size: 1920x1080, 2560x1440, or a mixture per sequence."""
    stride_s: float = 1.0
    """Seconds of scene time between two frames of a sequence."""
    workers: int = 0
    """Processes; 0 means one per CPU core. The pictures do not depend on it."""
    quality: int = 90
    """JPEG quality of the files (camera compression is drawn on top by the scene's condition)."""


@dataclass(frozen=True)
class ConvertConfig:
    """Convert a data set to COCO, YOLO or VOC, and say what the target format cannot hold."""

    data: Positional[str]
    """A data description (.yaml), an annotation file, or a folder."""
    out: Positional[Path]
    """Folder to write."""
    to: Literal["coco", "yolo", "voc"] = "coco"
    """Target format."""
    format: Format = "auto"
    """Format of DATA, where it cannot be detected."""
    split: str | None = None
    """Only this split."""
    classes: str = "keep"
    """'ship' makes every class a ship; 'ferry=ship,buoy=' maps and drops; 'keep' keeps the names."""
    images: Literal["copy", "link", "none"] = "copy"
    """What to do with the image files."""


@dataclass(frozen=True)
class SplitConfig:
    """Split by sequence, never by frame; write the split to a file with a digest, and beside it a data description that
    other commands take as DATA."""

    data: Positional[str]
    """A data description (.yaml), an annotation file, or a folder."""
    out: Path = Path("splits.json")
    """Split file to write. The description, which names DATA and this file, gets its name with .yaml (splits.yaml)."""
    parts: str = "train=0.7,val=0.15,test=0.15"
    """Names and shares of the splits, by frames."""
    seed: int = 0
    """Same seed and data, same split."""
    block: int = 1000
    """Frame numbers per block where sequences are unknown: frames of one block stay together."""
    link_distance: int = 10
    """Hash distance (of 256 bits) up to which two frames of different sequences count as near duplicates: such
    sequences are joined; such frames at the border of two blocks are left out of the earlier split."""
    links: bool = True
    """Read the pictures to find near duplicates between sequences."""
    base: Path | None = None
    """Earlier split file: sequences that it lists keep their split."""
    stratify: bool = True
    """Balance scene, condition and box size over the splits, where known."""
    format: Format = "auto"
    """Format of DATA, where it cannot be detected."""
    classes: str = "keep"
    """Class map, as for 'data convert'."""


@dataclass(frozen=True)
class AuditConfig:
    """Check a data set: broken files, wrong boxes, duplicates, and leaks between splits."""

    data: Positional[tuple[str, ...]]
    """One or several data sets; leaks are sought inside and across them."""
    format: Format = "auto"
    """Format of DATA, where it cannot be detected."""
    classes: str = "keep"
    """Class map, as for 'data convert'."""
    fix: Path | None = None
    """Write a cleaned copy (COCO) to this folder; the original is never edited."""
    pixels: bool = True
    """Read the pictures too (damage, true size, duplicates); without, only the annotations are checked."""
    near_distance: int = 10
    """Hash distance (of 256 bits) up to which two frames count as near duplicates."""
    duplicate_iou: float = 0.95
    """Two boxes of one class with a larger IoU are duplicates."""
    max_aspect: float = 25.0
    """Boxes with a longer side of more than so many shorter sides are reported."""
    min_side: float = 2.0
    """Boxes with a shorter side of fewer pixels are reported."""
    strict: bool = False
    """Exit with 3 on warnings as well as on errors."""


@dataclass(frozen=True)
class MergeConfig:
    """Merge data sets into one COCO set without frames that repeat one another, or that resemble a training set."""

    data: Positional[tuple[str, ...]]
    """The parts: descriptions (.yaml), annotation files or folders. Of two duplicates the one in the part named first
    is kept, inside a part the first."""
    out: Path
    """Folder to write: images/ and annotations/all.json, with 'source' and 'sequence_id' for every frame."""
    without: tuple[str, ...] = ()
    """Data sets (training sets): frames that are exact or near duplicates of any of their frames, or have the same
    boxes in the same places, are removed."""
    split: str | None = None
    """Only this split of each part; a part that has neither this split nor a training split is used whole."""
    as_split: str | None = None
    """Give every frame of the result this split (test, for a test set); none keeps the parts' own."""
    classes: str = "ship"
    """'ship' makes every class a ship; otherwise a class map as for 'data convert'. Descriptions apply theirs first."""
    inside: Literal["near", "exact", "none"] = "near"
    """What counts as a duplicate inside one part. 'near' also thins out the video of a moored camera; across parts
    exact and near duplicates always count."""
    near_distance: int = 10
    """Hash distance (of 256 bits) up to which two frames count as near duplicates."""
    block: int = 1000
    """Frame numbers per sequence where sequences are unknown, as for 'data split'."""
    images: Literal["copy", "link", "none"] = "copy"
    """What to do with the image files."""
    format: Format = "auto"
    """Format of the parts, where it cannot be detected."""


@dataclass(frozen=True)
class StatsConfig:
    """Count frames, boxes, sizes (COCO, AI-TOD, network-input pixels), scenes and conditions."""

    data: Positional[str]
    """A data description (.yaml), an annotation file, or a folder."""
    split: str | None = None
    """Only this split."""
    imgsz: int = 640
    """Long side of the network input, for sizes in network-input pixels."""
    plot: Path | None = None
    """Write a picture (.png) of the size and density histograms here."""
    format: Format = "auto"
    """Format of DATA, where it cannot be detected."""
    classes: str = "keep"
    """Class map, as for 'data convert'."""


@dataclass(frozen=True)
class AdviseConfig:
    """Say which input size, crops, tiles, head and recipe fit the sizes of the ships, and why."""

    data: Positional[str]
    """A data description (.yaml), an annotation file, or a folder."""
    split: str = "train"
    """Split to look at (all frames where DATA has no splits)."""
    budget_ms: float | None = None
    """Most milliseconds that one frame may take; MODEL is then timed here, and larger inputs are ruled out."""
    model: str | None = None
    """With BUDGET_MS: artefact (.onnx) or checkpoint like the one that is to be trained."""
    threads: int = 0
    """With BUDGET_MS: CPU threads; 0 means all cores."""
    out: Path | None = None
    """Write the text to this file as well."""
    format: Format = "auto"
    """Format of DATA, where it cannot be detected."""
    classes: str = "ship"
    """Class map, as for 'train'."""


# --- train -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AugmentConfig:
    """The maritime augmentations; each effect has one switch, and one common probability."""

    fog: bool = True
    """Haze that thickens towards the horizon."""
    glare: bool = True
    """Sun glare on the water and in the lens."""
    rain: bool = True
    """Streaks and a soft veil."""
    low_light: bool = True
    """Dusk and night: darker, bluer."""
    noise: bool = True
    """Sensor noise."""
    compression: bool = True
    """Blocks and blur of a weak video link."""
    motion_blur: bool = True
    """A rolling or panning camera."""
    text: bool = True
    """Dates, names and bearings that cameras write into their pictures, where no ship is."""
    crop: bool = True
    """Crops that never cut a small ship in two and may zoom in on far ships."""
    probability: float = 0.1
    """Probability of each weather and sensor effect, per picture."""
    crop_probability: float = 0.5
    """Probability of a crop, per picture (with FRAME_SIZE see WHOLE_FRAMES instead)."""
    focus: float = 0.7
    """Probability that a crop is laid around a ship; the others lie anywhere, which keeps empty water in."""
    scale: float = 0.4
    """Pictures are scaled by a random factor of up to 1 + SCALE, down to 1 - SCALE; from 0 to 1."""
    zoom: float | None = None
    """Crops are enlarged up to so many times more than that, for far ships; with FRAME_SIZE, for tiles that enlarge the
    frame (--tile horizon@2). None: 1.5 without FRAME_SIZE, 1 with it."""
    flip: float = 0.5
    """Probability of mirroring left to right."""
    hue: float = 0.015
    """Largest shift of the hue, as a share of the colour circle."""
    saturation: float = 0.5
    """Largest relative change of the saturation."""
    value: float = 0.4
    """Largest relative change of the brightness."""
    paste: float = 0.0
    """Probability that small ships of other training frames are put on the water of a picture, where their size fits
    their distance below the horizon."""


@dataclass(frozen=True)
class TinyConfig:
    """Losses and assignment for tiny ships; all off by default, which leaves ultralytics' loss as it is. Every effect
    fades out with the ship's size."""

    nwd: float = 0.0
    """Share of a tiny ship's box loss that is 1 - exp(-W2 / C), with W2 the Wasserstein distance of the boxes as
    Gaussians (arXiv 2110.13389), instead of 1 - CIoU."""
    assign: Literal["iou", "nwd"] = "iou"
    """How well a box fits, when predictions are assigned to ships: CIoU, or for tiny ships exp(-W2 / C)."""
    weight: float = 0.0
    """Tiny ships count 1 + WEIGHT times in the box and score losses."""
    below: float = 16.0
    """Ships of sqrt(area) up to so many pixels of the training picture are tiny; the effect ends at twice that."""
    nwd_scale: float | None = None
    """C in pixels; none takes the mean size of the tiny ships that are trained on."""


@dataclass(frozen=True)
class TrainConfig:
    """Train a detector on a data set; every ultralytics detect model by name."""

    data: Positional[str | None] = None
    """A data description (.yaml), an annotation file, or a folder; with RESUME it may be left out."""
    recipe: str = "default"
    """Set of defaults to start from; options given beside it win: default, full-frames, tiles, tiles-and-frames,
    horizon-tiles, small-ships or far-ships-p2. 'wutdet data advise DATA' says which fits."""
    model: str = "yolo26n"
    """Architecture (yolo26n, yolo11n, yolo26n-p2, yolo26n-p2ship, ..., or a .yaml) or checkpoint (.pt)."""
    weights: Path | None = None
    """Starting weights for MODEL: a checkpoint (.pt) or a state dict (.safetensors); none means from scratch."""
    val: str | None = None
    """Data set to validate on; by default the split VAL_SPLIT of DATA."""
    train_split: str = "train"
    """Split to train on (all frames where DATA has no splits)."""
    val_split: str = "val"
    """Split to validate on."""
    classes: str = "ship"
    """'ship' makes every class a ship; otherwise a class map as for 'data convert'."""
    activation: Literal["silu", "relu"] = "silu"
    """Of the convolutions of a new MODEL. In int8 a ReLU costs nothing; some accelerators have no SiLU. WEIGHTS that
    were trained with SiLU have to be trained on for long."""
    epochs: int = 100
    """Passes over the training split."""
    imgsz: int = 640
    """Side of the square training input in pixels: a multiple of the model's largest stride (32; 64 for -p6)."""
    frame_size: int | None = None
    """Long side to which frames are scaled before crops of IMGSZ are taken; none means IMGSZ (whole frames)."""
    max_scale: float | None = None
    """Frames are enlarged at most so many times, in training and later (the checkpoint and its artefacts say so): small
    photographs among large frames then stay as they are. None: every frame's long side becomes FRAME_SIZE."""
    whole_frames: float = 0.15
    """With FRAME_SIZE: share of pictures that show the whole frame instead of a crop, for ships close by."""
    batch: int = 16
    """Pictures per step."""
    lr0: float | None = None
    """First learning rate; none takes 0.002 from scratch and 0.0002 from weights (SGD: 0.01 and 0.002)."""
    optimizer: str = "auto"
    """'auto' takes AdamW below 10,000 steps and SGD above; or SGD, AdamW, ... as ultralytics names them."""
    device: str = "auto"
    """cpu, 0 (first GPU), ... ; auto takes a GPU when there is one."""
    workers: int | None = None
    """Processes that load pictures; none takes 0 on the CPU, which is busy anyway, and 4 with a GPU."""
    seed: int = 0
    """Same seed, data and machine, same run."""
    patience: int = 50
    """Stop after so many epochs without a better AP; 0 never does."""
    mosaic: float = 0.5
    """Probability that four pictures are put together into one."""
    close_mosaic: int = 3
    """Last epochs that run without mosaic. With MINUTES, which may end the run sooner, they are estimated before every
    epoch from the time of those before; of the first epoch nothing is known, so it has mosaics."""
    balance: Literal["none", "sequence", "condition", "source"] = "none"
    """Show rare sequences, conditions or sources more often: a group of n frames gets a share of sqrt(n). Epochs keep
    their length."""
    freeze: int = 0
    """Number of first layers to keep as they are."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    tiny: TinyConfig = field(default_factory=TinyConfig)
    out: Path = Path("runs/train")
    """Run folder; a number is added if it is there already and not empty."""
    resume: Path | None = None
    """Run folder to continue after a kill; all other options are then read from it."""
    eval_every: int = 1
    """Epochs between validations."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """'auto' takes bf16 on a GPU and fp32 on a CPU; bf16 on a CPU with AVX512-BF16 or AMX takes about half the time."""
    quantize: str | None = None
    """Train aware of low-bit weights: int8, int4, mxfp4, nvfp4 or hif4, with options as in mxfp4:scale_rule=ceil. Start
    from a trained float checkpoint, with a low LR0; 'export --format' of the same name then rounds nothing more."""
    quantize_inputs: bool = False
    """With QUANTIZE: layers also see their inputs in that format, for accelerators whose products take both operands in
    4 bits (artefacts of this project keep 8)."""
    minutes: float | None = None
    """Stop after so many minutes (at the end of an epoch)."""
    extra: tuple[str, ...] = ()
    """Further ultralytics settings as key=value (for example box=7.5)."""


@dataclass(frozen=True)
class AverageConfig:
    """Average the weights of several trainings of one network: often better than each, and as fast as one."""

    models: Positional[tuple[str, ...]]
    """Checkpoints (.pt) of one architecture, best trained from the same start with other seeds or data."""
    out: Path
    """File for the average (.pt)."""
    shares: tuple[float, ...] = ()
    """Share of each model; all alike by default. They are divided by their sum."""


# --- evaluate --------------------------------------------------------------------------------------------------


Preset = Literal["coco", "aitod", "soda-d", "tinyperson", "visdrone"]


@dataclass(frozen=True, kw_only=True)
class AnalysisConfig:
    """What 'eval' and 'score' measure."""

    preset: Preset = "coco"
    """Evaluation protocol of the headline; the others are given beside it."""
    bins: str | None = None
    """Own size bins: rising edges of sqrt(area), with a unit: 8,16,32 (frame pixels), 8,16,32@input (pixels of the
    network input, as the tiles show them where there are any), 1/256,1/64,1/16@frame (shares of the frame's side)."""
    resamples: int = 1000
    """Bootstrap resamples for intervals; 0 gives none."""
    seed: int = 0
    """Of the resamples."""
    full: bool = True
    """Also slices, density, error types and the other presets; without, only the preset's figures and intervals."""
    report: Path | None = None
    """Folder for report.html, report.md, eval.json, the detections and the table of objects."""
    objects: Path | None = None
    """Write every hit, miss and false alarm as a row to this file (.csv, or .parquet with pyarrow)."""
    crops: Path | None = None
    """Folder for cut-outs of the worst misses and false alarms (not with 'score')."""


@dataclass(frozen=True)
class EvalConfig(AnalysisConfig):
    """Score checkpoints or artefacts on a data set: MODEL DATA, two models: MODEL MODEL DATA, or MODEL=DATA ...
    with --matrix."""

    inputs: Positional[tuple[str, ...]]
    """MODEL (.pt, .onnx, .safetensors with --arch; or a COCO result file .json of any tool), a second one to compare it
    with on the same frames, and last DATA (a description, an annotation file or a folder)."""
    split: str | None = None
    """Only this split."""
    imgsz: int | None = None
    """Long side of the network input in pixels; none takes the model's own."""
    conf: float = 0.001
    """Lowest score that counts."""
    iou: float = 0.7
    """NMS threshold, for models that need NMS."""
    max_det: int | None = None
    """Most boxes kept per frame; none takes the largest limit of the presets that are measured."""
    tile: str = "saved"
    """Tiles looked at one by one beside the whole frame: saved (as 'wutdet bench tiling' chose for the model, else
    none), none, 640 (squares of so many pixels of the frame), 960x544 (pixels), 3x2 (at most so many columns and rows),
    horizon (one row along the horizon; horizon:2 in 2 columns; horizon@1+1.5 with a second row that enlarges), auto (as
    saved, else by the frame's size), or a file of 'wutdet bench tiling'."""
    tile_overlap: float = 0.2
    """Share of a tile that neighbouring tiles have in common."""
    arch: str | None = None
    """Architecture of a .safetensors state dict."""
    category: str | None = None
    """Use only this category of the model and take it for 'ship' (for example 'boat' of a COCO model)."""
    head: Literal["auto", "nms-free", "nms"] = "auto"
    """For checkpoints of NMS-free architectures: 'nms' takes the head that needs NMS."""
    classes: str = "ship"
    """Class map of DATA."""
    threads: int = 0
    """CPU threads; 0 means all cores."""
    backend: Literal["auto", "onnxruntime", "native", "torch"] = "auto"
    """What runs the models: 'native' is wutdet's own engine; 'auto' takes it for artefacts with 8-bit activations,
    onnxruntime for others, torch for checkpoints."""
    device: str = "auto"
    """For checkpoints: cpu, 0, ...; artefacts run on the CPU."""
    detections: Path | None = None
    """Also write the detections as a COCO result file."""
    format: Format = "auto"
    """Format of DATA, where it cannot be detected."""
    leaks: bool = True
    """Print the leak rate beside the figures where DATA has a training split."""
    corrupt: bool = False
    """Also score under 12 maritime corruptions at 5 severities each (60 more passes over the frames)."""
    corrupt_frames: int = 100
    """Most frames for CORRUPT, drawn evenly over sequences; 0 means all."""
    matrix: bool = False
    """Cross-dataset table: INPUTS are MODEL=DATA pairs (which data a model was trained on) and =DATA for further test
    sets; every model is tested on every set, without the frames that resemble its training frames."""


@dataclass(frozen=True)
class ScoreConfig(AnalysisConfig):
    """Score COCO result files against COCO ground truth, all from anywhere; two result files are compared."""

    ground_truth: Positional[Path]
    """COCO annotation file."""
    detections: Positional[tuple[Path, ...]]
    """COCO result file: a list of {image_id, category_id, bbox, score}; or two to compare."""
    imgsz: int | None = None
    """Long side of the network input in pixels, for BINS in input pixels."""


# --- export, detect, bench -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExportConfig:
    """Make an ONNX artefact of a checkpoint and let it pass its acceptance gate."""

    model: Positional[str]
    """Checkpoint (.pt), or state dict (.safetensors with --arch)."""
    format: Literal["fp32", "int8", "int4", "mxfp4", "nvfp4", "hif4"] = "fp32"
    """Number format of the artefact; the 4-bit formats are of weights."""
    activations: Literal["float", "int8"] = "float"
    """Beside 4-bit weights: float activations, or the 8-bit ones of --format int8 (needs --calib)."""
    form: Literal["packed", "standard"] = "packed"
    """How 4-bit weights are stored: packed, which every ONNX runtime reads that knows functions; or, int4 and mxfp4
    only, in ONNX's own types, which few runtimes read yet."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """File to write; by default beside the model: NAME.FORMAT.onnx."""
    imgsz: str = "640"
    """Network input: one number (square) or HEIGHTxWIDTH, multiples of 32."""
    calib: str | None = None
    """Data set for calibration (needed for int8; 4-bit weights lose much less with it); its training split is used,
    never val or test."""
    calib_split: str = "train"
    """Split to calibrate on; val and test are refused."""
    calib_images: int = 200
    """Most pictures used for calibration, drawn evenly over sequences."""
    calib_method: Literal["l4", "percentile", "minmax"] = "l4"
    """How activation ranges are chosen: least fourth power of the error, all but 0.01 % at each end, or everything."""
    bias_correction: bool = True
    """With int8: move biases so that every convolution's output channels have the float graph's means on 8 calibration
    frames, where that brings the output nearer to the float graph's on others."""
    weight_rounding: Literal["outputs", "nearest"] = "outputs"
    """With int8: outputs rounds weights so that each layer's output changes least on the same 8 frames (GPTQ), where
    that brings the network's output nearer to the float graph's on others; nearest rounds each on its own."""
    reduce_range: bool = False
    """7-bit weights, for CPUs without VNNI (before Intel Cascade Lake or AMD Zen 4), where 8 bits can overflow."""
    int8_layers: int = 0
    """With a 4-bit format and CALIB: so many layers are stored in int8 instead, those whose rounding changes the head's
    output most."""
    size_budget_mb: float | None = None
    """With a 4-bit format and CALIB: largest size of the file in MB (1,000,000 bytes); what is left of it is spent on
    int8 layers, where a byte lowers the change of the head's output most."""
    gate: str | None = None
    """Held-out data set for the acceptance gate; by default the CALIB data set. With fp32 it gives the threshold."""
    gate_split: str = "val"
    """Split of the gate."""
    gate_images: int = 0
    """Most pictures used by the gate; 0 means all."""
    max_drop: float = 0.010
    """Export fails when AP falls by more than this against the float model (0..1)."""
    arch: str | None = None
    """Architecture of a .safetensors state dict."""
    category: str | None = None
    """Keep only this category of the model and call it 'ship' (for example 'boat' of a COCO model)."""
    head: Literal["auto", "nms", "nms-free"] = "auto"
    """Head of a two-headed architecture (yolo26): auto takes the one with NMS; nms-free gives at most 300 boxes."""
    classes: str = "ship"
    """Class map of the data sets."""
    licence: str | None = None
    """What the file's metadata says of its licence; none takes what the checkpoint says (those of 'wutdet train':
    AGPL-3.0, as ultralytics has it). Whether you may say otherwise depends on weights, pictures and code behind it."""
    seed: int = 0
    """Chooses the calibration pictures."""
    force: bool = False
    """Write the artefact even if the gate fails; the metadata then says so."""


@dataclass(frozen=True)
class DetectConfig:
    """Find ships in pictures, folders and videos: one JSON object per frame on stdout."""

    source: Positional[str]
    """Picture, folder, video file, camera number or rtsp:// address. Pictures that cannot be read are told, as is
    a video that ends over 2 frames and 5 % before the number of frames it states; the rest goes on, and the
    exit code is 3."""
    model: str = "default"
    """Artefact (.onnx), a released one by name (ship-n.int8, ship-n.hif4, or 'default', which is the first), or
    checkpoint (.pt; needs wutdet[train])."""
    conf: float | None = None
    """Lowest score shown; none takes the model's own threshold, or 0.25."""
    iou: float = 0.7
    """NMS threshold, for models that need NMS."""
    max_det: int = 300
    """Most boxes per frame."""
    tile: str = "saved"
    """Tiles looked at one by one beside the whole frame: saved (as 'wutdet bench tiling' chose for the model, else
    none), none, 640 (squares of so many pixels of the frame), 960x544 (pixels), 3x2 (at most so many columns and rows),
    horizon (one row along the horizon; horizon:2 in 2 columns; horizon@1+1.5 with a second row that enlarges), auto (as
    saved, else by the frame's size), or a file of 'wutdet bench tiling'."""
    tile_overlap: float = 0.2
    """Share of a tile that neighbouring tiles have in common."""
    threads: int = 0
    """CPU threads; 0 means all cores."""
    backend: Literal["auto", "onnxruntime", "native", "torch"] = "auto"
    """What runs the model: 'native' is wutdet's own engine; 'auto' takes it for artefacts with 8-bit activations,
    onnxruntime for others, torch for checkpoints."""
    save: Path | None = None
    """Folder (pictures) or .mp4 file (video) for annotated output; nothing that is read is written over."""
    coco: Path | None = None
    """Write COCO results here as well; where Ctrl-C or an error ends the run, those found until then."""
    stride: int = 1
    """Take every n-th frame of a video."""
    latest: bool = True
    """Of a camera or stream, look at the newest frame each time, and skip those that came meanwhile. Without it frames
    come in order: where detection is slower than the camera, later and later."""
    reconnect_s: float | None = None
    """Open a camera or stream that breaks off again after so many seconds, as often as it takes. None: stop there."""
    quiet: bool = False
    """No JSON on stdout."""


@dataclass(frozen=True)
class BakeoffConfig:
    """Options of 'wutdet bench bakeoff'."""

    out: Path = Path("runs/bakeoff")
    """Folder for rows, table and curves; finished runs in it are not repeated."""
    recipes: tuple[str, ...] = (
        "float32",
        "bf16",
        "hif4",
        "hif4+rht",
        "mxfp4",
        "mxfp4+rht+sr+tf",
        "nvfp4+tile+rht+sr",
    )
    """Formats (float32, bf16, hif4, mxfp4, nvfp4, ...) with switches: rht (random Hadamard transform of the weight
    gradient's operands), sr (stochastic rounding of gradients), tf (truncation-free scales, mxfp4), tile (16x16 tiles
    for weights, nvfp4). Errors are relative to float32's loss."""
    tasks: tuple[str, ...] = ("detector", "transformer")
    """Models to train."""
    seeds: int = 3
    """Seeds of each, from 0 on."""
    detector_steps: int = 500
    """Training steps of the detector, 8 pictures each."""
    transformer_steps: int = 800
    """Training steps of the transformer, 8 times 64 characters each."""
    workers: int = 2
    """Runs at a time; 1 runs them in this process."""
    threads: int = 1
    """CPU threads of each."""


@dataclass(frozen=True)
class LowbitConfig:
    """Options of 'wutdet bench lowbit'."""

    out: Path = Path("runs/lowbit")
    """Folder for rows, table and detections; rows in it are not measured again."""
    models: tuple[str, ...] = ()
    """Checkpoints to quantise, or 'NAME=CHECKPOINT'."""
    trained: tuple[str, ...] = ()
    """'NAME=CHECKPOINT' for each checkpoint of 'wutdet train --quantize' that was started from the model NAME; one that
    was trained with --quantize-inputs gives the A4 row, others give those of the other widths."""
    data: tuple[str, ...] = ()
    """Data sets to score on, or 'NAME=DATA'."""
    split: str = "val"
    """Their split; data sets without splits are taken whole."""
    calib: str = ""
    """Data set to calibrate on; its training split is used."""
    calib_images: int = 24
    """Frames of it."""
    imgsz: int = 960
    """Long side of the network input in pixels."""
    category: str | None = None
    """Use only this category of the models and call it 'ship' (for COCO models: boat)."""
    formats: tuple[str, ...] = ("int8", "int4", "mxfp4 floor", "mxfp4 truncation-free", "nvfp4", "hif4")
    """Formats of weights."""
    activations: tuple[str, ...] = ("A16", "A8", "A4")
    """What rounded layers see: A16 float, A8 256 levels over one range a layer, A4 the weights' own format."""
    methods: tuple[str, ...] = ("nearest", "restored", "optimised", "trained")
    """Rounding to nearest; that and every channel's mean and deviation put back; searched scales and GPTQ as well;
    weights of '--lowbit.trained'."""
    seed: int = 0
    """Seed of the calibration frames and positions."""
    threads: int = 1
    """CPU threads."""


@dataclass(frozen=True)
class BenchConfig:
    """Time artefacts side by side in one run."""

    models: Positional[tuple[str, ...]]
    """Artefacts (.onnx), or architectures (yolo11n, models/*.yaml), which get random weights; or 'index' for the
    100,576-image index benchmark, 'eval' for the evaluator beside pycocotools, faster-coco-eval and hotcoco (those that
    are installed), 'coverage' for how often its intervals hold the true value, 'formats' for error and speed of the
    low-bit number formats, 'bakeoff' for training in them, 'lowbit' for what they cost trained detectors, or 'merge'
    for merging the boxes of tiles."""
    against: tuple[str, ...] = ()
    """Other engines to time beside the native one: onnxruntime, openvino, ncnn (those installed), by spaces or commas.
    Then the network alone is timed; without it, onnxruntime from pixels to boxes."""
    threads: tuple[int, ...] = (0,)
    """CPU threads; several numbers are timed in one run; 0 means all cores."""
    runs: int = 50
    """Timed runs of each, interleaved."""
    warmup: int = 5
    """Untimed runs of each, first."""
    images: str | None = None
    """Pictures to run on; by default one rendered frame."""
    imgsz: str = "640"
    """For an architecture's name: network input, one number (square) or HEIGHTxWIDTH."""
    formats: tuple[Literal["fp32", "int8", "int4", "mxfp4", "nvfp4", "hif4"], ...] = ("fp32", "int8")
    """For an architecture's name and --against: number formats of its artefacts with random weights."""
    categories: int = 80
    """For an architecture's name and --against: its categories; published figures are with COCO's 80."""
    layers: bool = False
    """Time the native engine's layers as well."""
    data: str | None = None
    """With --against: data set (its validation split, or all of it) for AP beside every row."""
    calib: str | None = None
    """With --against: data set for the rivals' own int8 files (its training split); by default the timed frames."""
    calib_images: int = 64
    """Most pictures of CALIB."""
    work: Path | None = None
    """Folder for the generated files of 'index' (about 900 MB of small files) and 'eval' (350 MB), which are then kept
    and used again; by default temporary."""
    checkpoint: str | None = None
    """For 'formats': a trained detector (.pt) whose weights are rounded as well."""
    bakeoff: BakeoffConfig = field(default_factory=BakeoffConfig)
    lowbit: LowbitConfig = field(default_factory=LowbitConfig)


@dataclass(frozen=True)
class TilingConfig:
    """Measure tile policies on a data set: accuracy against milliseconds, and the best policy within a time, which
    'detect' and 'eval' take with --tile auto."""

    model: Positional[str]
    """Artefact (.onnx) or checkpoint (.pt)."""
    data: Positional[str]
    """A data description (.yaml), an annotation file, or a folder."""
    policies: tuple[str, ...] = ("none", "horizon", "horizon@1+1.5", "horizon@1+2", "3x2", "640")
    """Policies to measure, as --tile of 'detect' takes them."""
    within_ms: float | None = None
    """Choose the best policy whose median frame takes at most so many milliseconds; none sets no limit."""
    clock: Literal["wall", "cpu"] = "wall"
    """What WITHIN_MS counts: wall time, or CPU time, which a busy machine changes less (of all threads together)."""
    metric: Literal["AP", "AP50", "AP_32", "AP_16", "recall", "recall_32", "recall_16"] = "AP"
    """What is best: AP of all ships, of those below 32 or 16 px, or the share of them found at IoU .50."""
    split: str | None = None
    """Only this split; not the one that final figures are given on."""
    every: int = 1
    """Take every n-th frame."""
    overlap: float = 0.2
    """Share of a tile that neighbouring tiles have in common."""
    conf: float = 0.001
    """Lowest score that counts."""
    iou: float = 0.7
    """NMS threshold, for models that need NMS."""
    max_det: int = 300
    """Most boxes per frame."""
    imgsz: int | None = None
    """Long side of the network input in pixels; none takes the model's own."""
    category: str | None = None
    """Use only this category of the model and take it for 'ship'."""
    head: Literal["auto", "nms-free", "nms"] = "auto"
    """For checkpoints of NMS-free architectures: 'nms' takes the head that needs NMS."""
    classes: str = "ship"
    """Class map of DATA."""
    format: Format = "auto"
    """Format of DATA, where it cannot be detected."""
    threads: int = 0
    """CPU threads; 0 means all cores."""
    backend: Literal["auto", "onnxruntime", "native", "torch"] = "auto"
    """What runs the model: 'native' is wutdet's own engine; 'auto' as for 'detect'."""
    out: Path = Path("runs/tiling")
    """Folder for what was measured of one model on one choice of frames; what is in it is not measured again."""
    embed: bool = False
    """Write the choice, and the score threshold with the best F1 under it, into the artefact's metadata as well, so
    that they travel with the file. Released models are copied first: their files belong to the installed package."""
    save: Path | None = None
    """File for the choice; by default MODEL's name with .tiling.json, beside it, where --tile auto finds it (for models
    that are installed with wutdet: in OUT)."""


@dataclass(frozen=True)
class DemoConfig:
    """The main job on rendered scenes, from data to report: render, audit, split, train, export, detect, time."""

    out: Path = Path("runs/demo")
    """Folder for everything the demo makes; it is continued if it is there already."""
    quick: bool = False
    """Smaller data and fewer epochs: about 1 minute instead of 5 on 2 cores, with a weaker detector."""
    seed: int = 0
    """Seed of scenes, split and training."""


@dataclass(frozen=True)
class ReportConfig:
    """Write the HTML report of a run folder again."""

    run: Positional[Path]
    """Run folder of 'wutdet train' or 'wutdet demo', or the folder of 'wutdet eval --report'."""
    out: Path | None = None
    """File to write; by default RUN/report.html."""
