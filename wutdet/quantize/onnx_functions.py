"""The ONNX functions that decode packed weights: one per format, of standard operators, in the domain wutdet.lowbit.

A runtime that knows nothing of these formats inlines the function and folds it to a constant weight at load; an engine
that knows them takes the packed bytes by the function's name. Bytes are looked up in tables (two elements to a byte, a
scale to a byte), so nothing but Gather, Cast, Mul and reshapes is needed, all of operator set 13 or older. Products are
formed in the order of ``PackedWeight.dequantize()``, so every bit is the same.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
from onnx import helper, numpy_helper

from wutdet.lowbit import codebooks
from wutdet.lowbit.layout import BITS, GROUP
from wutdet.lowbit.options import IntegerOptions

DOMAIN, VERSION = "wutdet.lowbit", 1
#: Lowest operator set that has every operator as used here.
LOWEST_OPSET = 13

#: Function name -> format and the options that it stands for.
FUNCTIONS: dict[str, tuple[str, dict]] = {
    "DequantizeHiF4": ("hif4", {}),
    "DequantizeMXFP4": ("mxfp4", {}),
    "DequantizeNVFP4": ("nvfp4", {"reference": "te"}),
    "DequantizeNVFP4TorchAO": ("nvfp4", {"reference": "ao"}),
    "DequantizeHiF8": ("hif8", {}),
    "DequantizeInt4": ("int4", {"symmetric": True}),
    "DequantizeInt4ZeroPoint": ("int4", {"symmetric": False}),
    "DequantizeInt8": ("int8", {"symmetric": True}),
    "DequantizeInt8ZeroPoint": ("int8", {"symmetric": False}),
}


def function_name(format: str, options) -> str:
    """The function that decodes tensors of a format with these options."""
    for name, (of, stands_for) in FUNCTIONS.items():
        if of == format and all(getattr(options, key) == value for key, value in stands_for.items()):
            return name
    raise AssertionError(f"no function for {format} with {options}")


def input_names(name: str) -> tuple[str, ...]:
    """What a function takes, in this order.

    ``codes`` uint8 [O, bytes]; ``scales`` uint8 [O, G, B], of integers float32 [S, G] with S = 1 or O; ``zero_points``
    uint8 [S, G]; ``tensor_scale`` float32 []; ``channel_scale`` float32 [O].
    """
    format, options = FUNCTIONS[name]
    return (
        "codes",
        *(() if format == "hif8" else ("scales",)),
        *(("zero_points",) if options.get("symmetric") is False else ()),
        *(("tensor_scale",) if format == "nvfp4" else ()),
        "channel_scale",
    )


def attribute_names(name: str) -> tuple[str, ...]:
    """What a call must say.

    ``columns``: values per output channel, H * W * I; ``ohwi``: sizes of the weight in the order of its values;
    ``options``: JSON of the format's options that differ from the defaults, which the body does not look at;
    ``group`` (integers): columns that share a scale.
    """
    return ("columns", "ohwi", "options", *(("group",) if FUNCTIONS[name][0] in ("int4", "int8") else ()))


def function(name: str, opset: int) -> onnx.FunctionProto:
    """One function, its body in the operator set of the model that it goes into."""
    format, options = FUNCTIONS[name]
    tables, lines = _decoding(format, options)
    text = (
        f'<domain: "{DOMAIN}", opset_import: ["" : {opset}]>\n'
        f"{name} <{', '.join(attribute_names(name))}> ({', '.join(input_names(name))}) => (weight)\n"
        "{" + _COLUMNS + lines + _TO_KERNEL + "}"
    )
    proto = onnx.parser.parse_function(text)
    constants = [
        helper.make_node("Constant", [], [table], value=numpy_helper.from_array(np.asarray(values)))
        for table, values in tables.items()
    ]
    body = [*constants, *proto.node]
    del proto.node[:]
    proto.node.extend(body)
    return proto


_COLUMNS = """
    first = Constant <value_int: int = 0> ()
    step = Constant <value_int: int = 1> ()
    end = Constant <value_int: int = @columns> ()
    column = Range (first, end, step)
    rows = Constant <value_ints: ints = [0, -1]> ()
"""
# Two values to a byte; the last byte of an odd row has one too many, which is never looked at.
_FOUR_BITS = """
    byte = Cast <to: int = 6> (codes)
    pairs = Gather (elements, byte)
    in_rows = Reshape (pairs, rows)
    element = Gather <axis: int = 1> (in_rows, column)
"""
_EIGHT_BITS = """
    byte = Cast <to: int = 6> (codes)
    element = Gather (elements, byte)
"""
_SCALE_TABLE = """
    scale_code = Cast <to: int = 6> (scales)
    scale_value = Gather (scale_values, scale_code)
    group_scale = Reshape (scale_value, rows)
"""
# The last group may be short: what is stored has no padding, so columns look up their group.
_PER_COLUMN = """
    group_of_column = Div (column, group_size)
    scale = Gather <axis: int = 1> (group_scale, group_of_column)
"""
# Doublings of 8 values [O, G, 8, 1] and of 4 values [O, G, 8, 2], bit 0 for the first values.
_HIF4_SCALES = """
    levels = Constant <value_ints: ints = [1, 1, 2]> ()
    level1, level2, level3 = Split <axis: int = 2> (scales, levels)
    code1 = Cast <to: int = 6> (level1)
    code2 = Cast <to: int = 6> (level2)
    code3 = Cast <to: int = 6> (level3)
    scale1 = Gather (scale_values, code1)
    bits2 = Gather (doublings, code2)
    bits3 = Gather (doublings, code3)
    factor2 = Cast <to: int = 1> (bits2)
    factor3 = Cast <to: int = 1> (bits3)
    shape2 = Constant <value_ints: ints = [0, 0, 8, 1]> ()
    shape3 = Constant <value_ints: ints = [0, 0, 8, 2]> ()
    of_eight = Reshape (factor2, shape2)
    of_four = Reshape (factor3, shape3)
    both = Mul (of_eight, of_four)
    shape16 = Constant <value_ints: ints = [0, 0, 16]> ()
    factor = Reshape (both, shape16)
    scale_of_four = Mul (scale1, factor)
    group_scale = Reshape (scale_of_four, rows)
"""
_TO_KERNEL = """
    per_row = Constant <value_ints: ints = [-1, 1]> ()
    row_scale = Reshape (channel_scale, per_row)
    scaled = Mul (decoded, row_scale)
    stored_shape = Constant <value_ints: ints = @ohwi> ()
    stored = Reshape (scaled, stored_shape)
    weight = Transpose <perm: ints = [0, 3, 1, 2]> (stored)
"""


def _decoding(format: str, options: dict) -> tuple[dict[str, np.ndarray], str]:
    """Tables of a function, and the lines from the inputs to ``decoded`` [O, columns]."""
    if format == "hif8":
        return {"elements": codebooks.HIF8}, _EIGHT_BITS + "decoded = Identity (element)\n"
    if format in ("int4", "int8"):
        return _integer_decoding(BITS[format], options["symmetric"])
    scaled = "decoded = Mul (element, scale)\n"
    if format == "hif4":
        doublings = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") + np.uint8(1)
        tables = {"elements": _pairs(codebooks.S1P2), "scale_values": codebooks.E6M2, "doublings": doublings}
        return tables, _FOUR_BITS + _HIF4_SCALES + _group_size("4") + _PER_COLUMN + scaled
    tables = {"elements": _pairs(codebooks.E2M1), "scale_values": codebooks.E8M0}
    lines = _FOUR_BITS + _SCALE_TABLE + _group_size(str(GROUP[format])) + _PER_COLUMN
    if format == "mxfp4":
        return tables, lines + scaled
    tables["scale_values"] = codebooks.E4M3
    if options["reference"] == "te":
        return tables, lines + "exact = Mul (element, scale)\n decoded = Mul (exact, tensor_scale)\n"
    return tables, lines + "rounded = Mul (scale, tensor_scale)\n decoded = Mul (element, rounded)\n"


def _integer_decoding(bits: int, symmetric: bool) -> tuple[dict[str, np.ndarray], str]:
    values = np.arange(2**bits, dtype=np.float32)
    if symmetric:  # two's complement
        values[2 ** (bits - 1) :] -= 2**bits
    lines = _FOUR_BITS if bits == 4 else _EIGHT_BITS
    lines += _group_size("@group") + "group_scale = Identity (scales)\n" + _PER_COLUMN
    if symmetric:
        lines += "decoded = Mul (element, scale)\n"
    else:
        lines += """
            group_zero = Cast <to: int = 1> (zero_points)
            zero = Gather <axis: int = 1> (group_zero, group_of_column)
            steps = Sub (element, zero)
            decoded = Mul (steps, scale)
        """
    return {"elements": _pairs(values) if bits == 4 else values}, lines


def _group_size(value: str) -> str:
    return f"group_size = Constant <value_int: int = {value}> ()\n"


def _pairs(table: np.ndarray) -> np.ndarray:
    """float32 [256, 2]: both values of a byte of 4-bit codes, the low half first."""
    byte = np.arange(256)
    return np.stack([table[byte & 15], table[byte >> 4]], axis=1)


def integer_group(options: IntegerOptions, columns: int) -> int:
    """Columns that share a scale: the group, or the whole row."""
    return options.group_size if options.granularity == "group" else max(1, columns)
