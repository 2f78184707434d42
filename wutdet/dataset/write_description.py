"""The data description that ``wutdet data split`` writes beside its split file: the data with its splits."""

from __future__ import annotations

import os
from pathlib import Path

from wutdet.dataset.describe import Description, find_description
from wutdet.dataset.yaml_lines import read_yaml
from wutdet.errors import DataError, UsageError
from wutdet.files import write_text

#: First line of a description that may be written over.
MARK = "# Written by 'wutdet data split':"


def description_file(split_file: Path, data: str, format: str = "auto") -> tuple[Path, bool]:
    """The description that names ``data`` and ``split_file`` together, and whether it has to be written.

    A description that already does so stays as it is: ``data`` itself, or one with the split file's name and ``.yaml``.

    Raises:
        UsageError: something else has that name, or the split file itself ends in .yaml.
    """
    source = find_description(Path(data), format)
    if source is not None and _names(source, split_file, source):
        return source.file, False
    if split_file.suffix.lower() in (".yaml", ".yml"):
        raise UsageError(
            f"--out is the split file, which is JSON, received {split_file}",
            hint=f"--out {split_file.with_suffix('.json')}; the description (.yaml) is written beside it",
        )
    target = split_file.with_suffix(".yaml")
    if not target.exists():
        return target, True
    try:
        if target.read_text("utf-8").startswith(MARK):
            return target, True
        found = find_description(target)
    except (DataError, OSError, UnicodeDecodeError):
        found = None
    if found is not None and _names(found, split_file, source or Path(data)):
        return target, False
    raise UsageError(
        f"{target}, where the description of the split data belongs, is another file",
        hint="choose another --out: the description gets its name with .yaml",
    )


def write_description(file: Path, split_file: Path, data: str, name: str, format: str, classes: str) -> None:
    """Writes a description of ``data`` with its split.

    Args:
        file: to write, in the folder of ``split_file``.
        split_file: the split.
        data: what was split. If it is a description, all that it says is kept, its class map too.
        name: of the data set.
        format: of ``data``; ``auto`` is left out.
        classes: class map, written where ``data`` has none; ``keep`` is left out.
    """
    import yaml

    class Writer(yaml.SafeDumper):
        """Texts of several lines stay readable."""

    Writer.add_representer(
        str,
        lambda writer, text: writer.represent_scalar(
            "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
        ),
    )
    source = find_description(Path(data), format)
    content = {"name": name}
    if source is not None:
        content |= read_yaml(source.file)[0]
        data = str(source.find_data())
    elif format != "auto":
        content["format"] = format
    content["path"] = Path(os.path.relpath(data, file.parent)).as_posix()
    content["splits"] = split_file.name
    if classes != "keep" and content.get("classes", "keep") == "keep":
        content["classes"] = classes
    text = yaml.dump(content, Dumper=Writer, sort_keys=False, allow_unicode=True, width=110)
    write_text(file, f"{MARK} the data with its splits, for train, eval, export and the rest.\n{text}")


def _names(description: Description, split_file: Path, data: Description | Path) -> bool:
    """Whether a description names this split file, which need not be there yet, and this data."""
    if description.splits_file is None:
        return False
    try:
        place = description.find_data()
        wanted = data.find_data() if isinstance(data, Description) else data
    except DataError:
        return False
    folders = (description.file.parent, place if place.is_dir() else place.parent)
    named = [(folder / description.splits_file).resolve() for folder in folders]
    return place.resolve() == wanted.resolve() and split_file.resolve() in named
