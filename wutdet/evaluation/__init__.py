"""Detections against ground truth: COCO metrics. Needs NumPy only."""
