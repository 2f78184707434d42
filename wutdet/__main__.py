"""``python -m wutdet`` is the ``wutdet`` command."""

from wutdet.cli import main

main()
