import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import wutdet

DEMO = Path(wutdet.__file__).parent / "demo.py"


def chains(tree: ast.AST) -> set[str]:
    """Attributes of the package as written: ``wutdet.train.run.run``."""
    return {text for node in ast.walk(tree) if isinstance(node, ast.Attribute)
            for text in [ast.unparse(node)] if text.startswith("wutdet.")}  # fmt: skip


def test_the_demo_imports_every_module_that_it_uses():
    """In a process of its own: elsewhere another test may have imported what the demo forgot."""
    pytest.importorskip("ultralytics")
    run = next(node for node in ast.parse(DEMO.read_text("utf-8")).body
               if isinstance(node, ast.FunctionDef) and node.name == "run")  # fmt: skip
    imports = [ast.unparse(node) for node in run.body if isinstance(node, ast.Import)]
    used = sorted(chains(run))
    assert len(used) >= 10 and len(imports) >= 5
    script = "\n".join([*imports, f"for name in {json.dumps(used)}:", "    eval(name)"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
