"""From checkpoint to artefact: ONNX with metadata, and the acceptance gate."""
