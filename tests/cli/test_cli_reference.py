"""docs/cli.md is what the program says of itself: made anew, and held against the help that tyro prints."""

from __future__ import annotations

import re
import runpy

import pytest

from wutdet.cli import COMMANDS, run

#: An option at the start of a line of help, up to its meaning two spaces on; its frame is drawn on terminals only.
_HELP_LINE = re.compile(r"^[│ ] (-.*?)(?:  |$)", re.MULTILINE)
_NAME = re.compile(r"(?<![\w-])--?[a-z][\w.-]*")


def test_reference_is_up_to_date(repository_dir):
    generate = runpy.run_path(str(repository_dir / "docs" / "generate_cli_reference.py"))["reference"]
    assert (repository_dir / "docs" / "cli.md").read_text("utf-8") == generate(), "run 'make docs'"


def section(text: str, command: str) -> str:
    """What docs/cli.md says under a command's heading."""
    return re.search(rf"^## wutdet {command}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def documented(text: str) -> set[str]:
    """All option names in the first column of tables."""
    cells = re.findall(r"^\| ((?:`[^`]*`(?:, )?)+) \|", text, re.MULTILINE)
    return {name for cell in cells for code in re.findall(r"`([^`]*)`", cell) for name in _NAME.findall(code)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_the_help_is_in_the_reference(command, repository_dir, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # one column of options, each on a line of its own
    with pytest.raises(SystemExit) as ended:
        run([*command.split(), "--help"])
    assert ended.value.code == 0
    found = {name for names in _HELP_LINE.findall(capsys.readouterr().out) for name in _NAME.findall(names)}
    assert {"-h", "--help"} <= found
    reference = (repository_dir / "docs" / "cli.md").read_text("utf-8")
    assert documented(section(reference, command)) == found - {"-h", "--help"}
    assert all(f"`{name}" in reference.split("\n## ")[0] for name in ("-h", "--help", "--json"))


def test_options_that_are_easily_left_out(repository_dir):
    reference = (repository_dir / "docs" / "cli.md").read_text("utf-8")
    inherited = {"--preset", "--bins", "--resamples", "--seed", "--full", "--no-full", "--report", "--objects"}
    for command in ("eval", "score"):
        assert inherited <= documented(section(reference, command))
    assert {"--augment.zoom", "--augment.no-crop", "--tiny.nwd"} <= documented(section(reference, "train"))
    assert {"--bakeoff.seeds", "--lowbit.trained"} <= documented(section(reference, "bench"))
    assert {"-o", "--out"} <= documented(section(reference, "export"))
