"""Annotated frames: readers, writers, the columnar Dataset, split, audit, stats."""
