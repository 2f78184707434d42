"""Notebooks run from top to bottom on a CPU, and are committed without outputs."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import nbformat
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
ids = [path.name for path in NOTEBOOKS]


def test_the_quickstart_is_there():
    assert "01-quickstart.ipynb" in ids


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_notebook_is_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, f"clear the outputs of {path.name}"


# The kernel's sockets and event loop are not ours to tidy up.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_notebook_runs(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    # Whatever kernels are installed for the user, this interpreter is the one under test.
    kernels = tmp_path / "jupyter/kernels/python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "Python 3",
                "language": "python",
            }
        )
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    check = nbformat.v4.new_code_cell("import sys; print(sorted({'torch', 'ultralytics'} & set(sys.modules)))")
    notebook.cells.append(check)
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    gc.collect()  # a kernel that is slow to end is complained of here, not in another test
    assert notebook.cells[-1].outputs[0]["text"].strip() == "[]", "the quickstart must not need torch"
    shown = "".join(
        str(output.get("text", "")) + str(output.get("data", ""))
        for c in notebook.cells
        if c.cell_type == "code"
        for output in c.outputs
    )
    assert "AP50" in shown and "data:image/jpeg;base64," in shown and "<svg" in shown
