"""Calibration and post-training quantisation of ONNX graphs."""
