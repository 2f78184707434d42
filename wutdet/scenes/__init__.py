"""The renderer of labelled sea scenes."""
