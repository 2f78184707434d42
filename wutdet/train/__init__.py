"""Training of ultralytics detect models on a Dataset, with maritime augmentations. Needs the extra 'train'."""
