#!/bin/bash
# equal_cost.sh CHECKPOINT OUT NAME DATA VAL RENDERED: int8 artefacts of a checkpoint, measured on both sets. Those of
# ultralytics' default (NAME def...) see whole frames at four sizes, and tiles at the smallest of them; ours see tiles.
# Larger inputs are calibrated on fewer frames, with about as many pixels in all.
set -e
checkpoint=$1 out=$2 name=$3 data=$4 val=$5 rendered=$6
mkdir -p "$out"
measure() { # SIZE FRAMES POLICIES...
  size=$1 frames=$2; shift 2
  file=$out/$name-$size.onnx
  [ -f "$file" ] || wutdet export "$checkpoint" --format int8 --imgsz "$size" --calib "$data" --calib-images $frames \
    --gate "$val" --gate-images 8 --max-drop 1 -o "$file"
  for set in val rendered; do
    wutdet bench tiling "$file" "${!set}" --backend native --threads 1 --clock cpu --policies "$@" \
      --out "$out/$name-$size-$set" --save "$out/$name-$size-$set.json"
  done
}
case $name in
  def*)
    measure 544x960 32 none horizon@1+2
    measure 736x1280 16 none
    measure 1088x1920 8 none
    measure 1440x2560 4 none
    ;;
  *) measure 544x960 32 none horizon horizon@1.5 horizon@1+2 ;;
esac
