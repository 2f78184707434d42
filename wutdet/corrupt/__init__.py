"""Maritime corruptions of test frames: what weather, water and the camera do to a picture. Needs NumPy and OpenCV."""
