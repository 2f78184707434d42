"""A COCO annotation file without the frames of one source: ``leave_out.py IN.json SOURCE OUT.json [--only]``.

With --only, the frames of that source alone. Pictures stay where they are: OUT.json lies beside a link to them
(OUT/annotations/train.json beside OUT/images).
"""

import json
import sys
from pathlib import Path

given, source, out = sys.argv[1:4]
only = "--only" in sys.argv[4:]
data = json.loads(Path(given).read_text())
data["images"] = [image for image in data["images"] if (image["source"] == source) == only]
if not data["images"]:
    sys.exit(f"{given}: no frames are left; is there a source '{source}'?")
kept = {image["id"] for image in data["images"]}
data["annotations"] = [box for box in data["annotations"] if box["image_id"] in kept]
Path(out).parent.mkdir(parents=True, exist_ok=True)
Path(out).write_text(json.dumps(data))
print(f"{out}: {len(kept)} frames, {len(data['annotations'])} boxes", file=sys.stderr)
