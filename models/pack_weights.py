"""Packs a checkpoint's weights without pickles: python models/pack_weights.py BEST.pt OUT.safetensors

Convolution weights are stored as float16, everything else as float32; the names are those of the model's state dict.
"""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save

from wutdet.files import write_bytes
from wutdet.runtime.offline import import_ultralytics


def main(checkpoint: str, out: str) -> None:
    import_ultralytics()
    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    model = content.get("ema") or content["model"]
    state = {
        name: value.contiguous().to(torch.float16 if value.ndim == 4 else torch.float32)
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
    facts = {"architecture": str(model.yaml.get("yaml_file", "")), "names": str(dict(model.names))}
    data = save(state, metadata=facts)
    write_bytes(out, data)
    print(f"{out}: {len(state)} tensors, {len(data) / 1e6:.2f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
