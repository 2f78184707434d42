"""Side-by-side timings; nothing here is a test."""
