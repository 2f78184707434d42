"""Slow and obvious NumPy encoders and decoders: the definition of every format. Fast ones equal them bit for bit."""
