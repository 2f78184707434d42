"""Charts and self-contained HTML reports."""
