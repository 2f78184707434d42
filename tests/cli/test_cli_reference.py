"""docs/cli.md is what the program says of itself."""

from __future__ import annotations

import runpy


def test_reference_is_up_to_date(repository_dir):
    generate = runpy.run_path(str(repository_dir / "docs" / "generate_cli_reference.py"))["reference"]
    assert (repository_dir / "docs" / "cli.md").read_text("utf-8") == generate(), "run 'make docs'"
