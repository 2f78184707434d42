"""Detector: frame to boxes, on onnxruntime or (for checkpoints) torch."""
