"""Random small quantised networks whose numbers are exact, so that every correct engine gives the same bits.

Scales are powers of two, weights few bits and biases multiples of the sums' step: no product or sum of floats rounds,
in whatever order it is computed, and codes cannot depend on it. Zero points are even, because a tie that is rounded to
even before or after an odd zero point is added ends in two codes. What rounds by nature (SiLU in float, float weights
in two planes) stands at the ends of a network only, where one step of difference goes no further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from onnx import helper
from operator_cases import Case, graph_of

from wutdet.lowbit import quantize
from wutdet.quantize.packed_onnx import pack_weights
from wutdet.quantize.weights import PackedWeight, to_rows

#: Sums of a convolution stay below this many steps.
MOST_STEPS = 2**21
PACKED = ("hif4", "mxfp4")


@dataclass(frozen=True)
class Image:
    """A value [1, C, H, W] of the graph.

    Attributes:
        codes: the uint8 value that it was dequantised from; None where it is float.
        step: its values are whole multiples of it.
        spread: about how large its values are.
    """

    name: str
    channels: int
    size_hw: tuple[int, int]
    step: float
    zero: int
    spread: float
    codes: str | None


class Network:
    """Grows by one random piece after the other."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {}
        self.packed: dict[str, PackedWeight] = {}
        self.images: list[Image] = []
        self.loose: dict[str, float] = {}  # outputs that may differ, and by how much
        size_hw = (self.pick(3, 5, 8, 12), self.pick(1, 4, 7, 12, 17))
        channels = self.pick(1, 3, 4, 8, 16, 20)
        self.feeds = {"x": self.rng.integers(-300, 300, (1, channels, *size_hw)).astype(np.float32) / np.float32(16)}
        self.quantise(Image("x", channels, size_hw, 1 / 16, 0, 10, None))

    def pick(self, *values):
        return values[int(self.rng.integers(len(values)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def node(self, op: str, inputs: list[str], outputs: int = 1, domain: str = "", **attributes) -> list[str]:
        names = [f"v{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        return names

    def constant(self, value) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def quantise(self, image: Image, scale: float | None = None) -> Image:
        """Rounded to bytes: the new image is one of those that pieces may take."""
        scale = scale or float(2.0 ** np.round(np.log2(max(image.spread, 1e-6) / 45) + self.pick(-1, 0, 0, 0, 1)))
        zero = 2 * int(self.rng.integers(0, 128)) if self.chance(0.7) else self.pick(0, 128)
        quant = [self.constant(np.float32(scale)), self.constant(np.uint8(zero))]
        (codes,) = self.node("QuantizeLinear", [image.name, *quant])
        (name,) = self.node("DequantizeLinear", [codes, *quant])
        out = replace(image, name=name, step=scale, zero=zero, spread=min(image.spread, 256 * scale), codes=codes)
        self.images.append(out)
        return out

    def some_image(self, *, like: Image | None = None) -> Image:
        found = [i for i in self.images if like is None or i.size_hw == like.size_hw]
        late = found[-4:]
        return self.pick(*late) if self.chance(0.7) else self.pick(*found)

    # Pieces.

    def weight(self, shape: tuple[int, ...], most: int) -> tuple[str, np.ndarray, float]:
        """Name, values in steps [O, ...] and the step: int8 per channel, floats, or packed."""
        codes = self.rng.integers(-most, most + 1, shape)
        in_planes = shape[0] >= 16 and shape[1] > 1 and shape[2:] != (1, 1)  # floats would be: not exact
        kind = self.pick(
            "int8", "int8", "int8", "int8" if in_planes else "float", "packed" if shape[1] % 4 == 0 else "int8"
        )
        if kind == "packed":
            name = self.constant(np.zeros(shape, np.float32))
            tensor = quantize(to_rows(codes.astype(np.float32)), self.pick(*PACKED))
            self.packed[name] = PackedWeight(tensor, shape, np.full(shape[0], 0.25, np.float32))
            return name, self.packed[name].dequantize() * 64, 1 / 64
        if kind == "float":
            return self.constant(codes.astype(np.float32) / 8), codes, 1 / 8
        steps = self.rng.integers(0, 3, shape[0])
        scales = (2.0**-9 * 2.0**steps).astype(np.float32)
        zeros = np.zeros(shape[0], np.int8)
        operands = (
            [codes.astype(np.int8), scales, zeros] if self.chance(0.8) else [codes.astype(np.int8), scales[:1][0]]
        )
        if len(operands) == 2:
            operands.append(np.int8(0))
            steps[:] = steps[0]
        (name,) = self.node("DequantizeLinear", [self.constant(value) for value in operands], axis=0)
        return name, codes * 2 ** steps.reshape(-1, 1, 1, 1), 2.0**-9

    def bias(self, image: Image, count: int, step: float) -> list[str]:
        kind = self.pick("none", "float", "float", "int32")
        codes = self.rng.integers(-4000, 4000, count)
        if kind == "none":
            return []
        if kind == "float":
            return [self.constant((codes * image.step * step).astype(np.float32))]
        scale = np.full(count, image.step * step, np.float32)
        operands = [codes.astype(np.int32), scale, np.zeros(count, np.int32)]
        return self.node("DequantizeLinear", [self.constant(value) for value in operands], axis=0)

    def convolution(self, image: Image, loose: bool = False, one_pixel: bool = False) -> Image | None:
        """Convolution of `image`; None where nothing fits. `loose`: with any weights, at an end."""
        height, width = image.size_hw
        kernel = self.pick((1, 1), (1, 1), (3, 3), (3, 3), (2, 2), (5, 5), (1, 3))
        stride = self.pick(1, 1, 1, 2)
        dilation = self.pick(1, 1, 1, 2) if kernel != (1, 1) else 1
        if one_pixel:
            kernel, stride, dilation = (1, 1), 1, 1
        reach = [(k - 1) * dilation for k in kernel]
        pads = (
            [r // 2 for r in reach] * 2 if self.chance(0.8) else [int(self.rng.integers(0, r + 1)) for r in reach * 2]
        )
        out_hw = tuple(
            (size + pads[a] + pads[a + 2] - reach[a] - 1) // stride + 1 for a, size in enumerate((height, width))
        )
        if min(out_hw) < 1 or height + pads[0] + pads[2] <= reach[0] or width + pads[1] + pads[3] <= reach[1]:
            return None
        depthwise = image.channels > 1 and self.chance(0.2) and not one_pixel
        channels = image.channels if depthwise else self.pick(1, 3, 4, 8, 16, 16, 20, 32, image.channels)
        depth = kernel[0] * kernel[1] * (1 if depthwise else image.channels)
        if loose:
            values = self.rng.normal(0, 1, (channels, depth // (kernel[0] * kernel[1]), *kernel)).astype(np.float32)
            name, codes, step = self.constant(values), values, 1.0
            bias = [self.constant(self.rng.normal(0, 1, channels).astype(np.float32))]
        else:
            most = int(min(127, MOST_STEPS // (4 * 256 * depth)))
            if most < 1:
                return None
            name, codes, step = self.weight((channels, depth // (kernel[0] * kernel[1]), *kernel), most)
            if float(np.abs(codes).reshape(channels, -1).sum(axis=1).max()) * 256 > MOST_STEPS:
                return None
            bias = self.bias(image, channels, step)
        (out,) = self.node(
            "Conv",
            [image.name, name, *bias],
            kernel_shape=list(kernel),
            strides=[stride] * 2,
            pads=pads,
            dilations=[dilation] * 2,
            group=image.channels if depthwise else 1,
        )
        spread = image.spread * step * float(np.sqrt(np.square(codes.astype(float)).mean() * depth))
        return Image(out, channels, out_hw, image.step * step, 0, max(spread, 1e-4), None)

    def activated(self, image: Image) -> Image:
        """Behind a convolution: nothing, or a function that both engines compute on exact numbers or on codes."""
        kind = self.pick("none", "none", "silu of codes", "silu of codes", "products of codes")
        if kind == "none":
            return self.quantise(image)
        rounded = self.quantise(image)
        if not self.chance(0.1):
            self.images.pop()  # nothing else takes it, so that it can be a table
        if kind == "products of codes":
            (scaled,) = self.node("Mul", [rounded.name, self.constant(np.float32(-0.5))])
            (name,) = self.node("Add", [scaled, self.constant(np.float32(rounded.step * 6))])
            return self.quantise(replace(rounded, name=name))
        (sigmoid,) = self.node("Sigmoid", [rounded.name])
        fine = self.quantise(replace(rounded, name=sigmoid, spread=1.0), 1 / 256)
        self.images.pop()
        (name,) = self.node("Mul", self.pick([rounded.name, fine.name], [fine.name, rounded.name]))
        return self.quantise(replace(rounded, name=name))

    def add_convolution(self) -> None:
        image = self.some_image()
        out = self.convolution(image)
        if out is None:
            return
        if self.chance(0.08):  # left in float: by another layer, by a sum, as an output
            self.loose[out.name] = 0.0
            return
        out = self.activated(out)
        same = [i for i in self.images if (i.channels, i.size_hw) == (out.channels, out.size_hw) and i is not out]
        if same and self.chance(0.6):
            if self.chance(0.8):
                self.images.remove(out)  # so that the sum is part of the convolution
            self.sum_of(out, self.pick(*same))

    def sum_of(self, a: Image, b: Image) -> None:
        pair = [a.name, b.name] if self.chance(0.5) else [b.name, a.name]
        self.quantise(replace(a, name=self.node("Add", pair)[0], spread=a.spread + b.spread))

    def add_sum(self) -> None:
        a = self.some_image()
        same = [i for i in self.images if (i.channels, i.size_hw) == (a.channels, a.size_hw)]
        self.sum_of(a, self.pick(*same))

    def add_concatenation(self) -> None:
        parts = [self.some_image()]
        parts += [self.some_image(like=parts[0]) for _ in range(int(self.rng.integers(1, 4)))]
        if sum(part.channels for part in parts) > 64:
            return
        (name,) = self.node("Concat", [part.name for part in parts], axis=self.pick(1, -3))
        joined = replace(
            parts[0],
            name=name,
            channels=sum(part.channels for part in parts),
            step=min(part.step for part in parts),
            spread=max(part.spread for part in parts),
            codes=None,
        )
        equal = len({(part.step, part.zero) for part in parts}) == 1
        if equal and self.chance(0.5):
            self.images.append(joined)
        else:
            self.quantise(joined)

    def add_split(self) -> None:
        image = self.some_image()
        if image.channels < 2:
            return
        cut = self.pick(image.channels // 2, int(self.rng.integers(1, image.channels)))
        sizes = [cut, image.channels - cut]
        if self.chance(0.3):
            begin, end = sorted(int(at) for at in self.rng.choice(image.channels + 1, 2, replace=False))
            edges = [self.constant(np.array([at])) for at in (begin, end, 1, 1)]
            (name,) = self.node("Slice", [image.name, *edges])
            self.images.append(replace(image, name=name, channels=end - begin, codes=None))
            return
        names = self.node("Split", [image.name, self.constant(np.array(sizes))], outputs=2, axis=1)
        for name, channels in zip(names, sizes, strict=True):
            self.images.append(replace(image, name=name, channels=channels, codes=None))

    def add_pool(self) -> None:
        image = self.some_image()
        kernel, stride = self.pick((2, 2), (3, 1), (5, 1), (3, 2), (2, 1))
        pads = [kernel // 2] * 4 if kernel % 2 else [0] * 4
        size_hw = tuple((size + 2 * pads[0] - kernel) // stride + 1 for size in image.size_hw)
        if min(size_hw) < 1:
            return
        (name,) = self.node("MaxPool", [image.name], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
        self.images.append(replace(image, name=name, size_hw=size_hw, codes=None))

    def add_upsampling(self) -> None:
        image = self.some_image()
        if max(image.size_hw) > 12:
            return
        by = self.pick((2, 2), (2, 2), (1, 3))
        scales = self.constant(np.array([1, 1, *by], np.float32))
        (name,) = self.node(
            "Resize",
            [image.name, "", scales],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        size_hw = (image.size_hw[0] * by[0], image.size_hw[1] * by[1])
        self.images.append(replace(image, name=name, size_hw=size_hw, codes=None))

    def upsampled(self, image: Image) -> Image:
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        (name,) = self.node("Resize", [image.name, "", scales], **modes)
        return replace(image, name=name, size_hw=(2 * image.size_hw[0], 2 * image.size_hw[1]), codes=None)

    def add_upsampled_join(self) -> None:
        """An upsampled image, others of its size and quantisation, and a 1x1 convolution of all of them."""
        image = self.some_image()
        if max(image.size_hw) > 12 or image.channels > 20:
            return
        large = self.upsampled(image)
        parts = [large]
        for _ in range(self.pick(1, 1, 2)):
            pool = self.node("MaxPool", [self.upsampled(image).name], kernel_shape=[3, 3], pads=[1] * 4)
            parts.insert(self.pick(0, len(parts)), replace(large, name=pool[0]))
        if self.chance(0.2):
            self.images.append(large)
        (name,) = self.node("Concat", [part.name for part in parts], axis=1)
        out = self.convolution(replace(large, name=name, channels=len(parts) * image.channels), one_pixel=True)
        if out is not None:
            self.activated(out)

    def add_requantisation(self) -> None:
        self.quantise(self.some_image())

    # Ends.

    def end_with_rows(self) -> None:
        """Reshaped to rows and joined, as heads of detectors end."""
        first = self.some_image()
        parts = [first, *(i for i in self.images[-6:] if i.channels == first.channels)]
        rows = [self.node("Reshape", [part.name, self.constant(np.array([1, part.channels, -1]))])[0] for part in parts]
        (name,) = self.node("Concat", rows, axis=2)
        self.loose[name] = 0.0

    def end_with_silu(self) -> None:
        out = self.convolution(self.some_image())
        if out is None:
            return
        (sigmoid,) = self.node("Sigmoid", [out.name])
        (name,) = self.node("Mul", self.pick([out.name, sigmoid], [sigmoid, out.name]))
        rounded = replace(out, name=name, spread=max(out.spread, 0.5))
        if self.chance(0.6):
            factor = self.rng.uniform(0.5, 2, (1, out.channels, 1, 1)).astype(np.float32)
            if self.chance(0.4):
                rounded = replace(rounded, name=self.node("Mul", [name, self.constant(factor)])[0])
            out = self.quantise(rounded)
            self.images.pop()
            self.loose[out.name] = out.step
        else:
            self.loose[name] = 2e-5 * 8 * max(out.spread, 1.0)

    def end_with_any_weights(self) -> None:
        out = self.convolution(self.some_image(), loose=True)
        if out is not None:
            # Planes of 15 bits: half a step of the largest weight / 16319 per product.
            self.loose[out.name] = out.spread * 2e-3

    def case(self) -> tuple[Case, dict[str, float]]:
        """The model with outputs picked at random, and how much each of them may differ."""
        tolerances = dict(self.loose)
        count = min(len(self.images), int(self.rng.integers(1, 4)))
        for at in self.rng.choice(len(self.images), count, replace=False):
            image = self.images[at]
            show_codes = image.codes is not None and self.chance(0.3)
            tolerances[image.codes if show_codes else image.name] = 0.0
        tolerances[self.images[-1].name] = 0.0
        codes = {image.codes for image in self.images}
        kinds = {name: np.uint8 if name in codes else np.float32 for name in tolerances}
        case = graph_of(self.nodes, self.feeds, self.constants, kinds)
        return Case(pack_weights(case.model, self.packed), case.feeds) if self.packed else case, tolerances


def random_graph(seed: int) -> tuple[Case, dict[str, float]]:
    """A network of 2 to 14 pieces with up to two ends, and for each output how much an engine may be off."""
    rng = np.random.default_rng(seed)
    network = Network(rng)
    pieces = [
        *[network.add_convolution] * 6,
        network.add_sum,
        *[network.add_concatenation] * 2,
        *[network.add_split] * 2,
        network.add_pool,
        network.add_upsampling,
        network.add_upsampled_join,
        network.add_requantisation,
    ]
    for _ in range(int(rng.integers(2, 15))):
        network.pick(*pieces)()
    for _ in range(int(rng.integers(0, 3))):
        network.pick(network.end_with_rows, network.end_with_silu, network.end_with_any_weights)()
    return network.case()
