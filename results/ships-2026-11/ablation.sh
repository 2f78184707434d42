#!/bin/bash
# ablation.sh CHECKPOINT OUT NAME DATA SET...: an int8 artefact of a checkpoint (calibrated on frames of DATA), measured
# with the released detector's tiles on each SET, given as LABEL=PATH; the folders OUT/NAME-LABEL are for equal_cost.py.
set -e
checkpoint=$1 out=$2 name=$3 data=$4; shift 4
mkdir -p "$out"
file=$out/$name.onnx
[ -f "$file" ] || wutdet export "$checkpoint" --format int8 --imgsz 544x960 --calib "$data" --calib-images 32 \
  --gate "${1#*=}" --gate-images 8 --max-drop 1 -o "$file"
for set in "$@"; do
  wutdet bench tiling "$file" "${set#*=}" --backend native --threads 1 --clock cpu --policies horizon@1+2 \
    --out "$out/$name-${set%%=*}" --save "$out/$name-${set%%=*}.json"
done
