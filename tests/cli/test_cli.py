"""The command line: cheap help, typos, exit codes, machine-readable output."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys

import pytest

from wutdet import cli, config
from wutdet.errors import DataError, UsageError, WutdetError, finished

HEAVY = ("torch", "ultralytics", "cv2", "onnxruntime", "numpy", "tyro")


def run_wutdet(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "wutdet", *arguments], capture_output=True, text=True, timeout=120)


def test_help_loads_nothing_heavy():
    code = (
        "import sys, wutdet.cli as c; code = c.run(['--help']); "
        f"print(code, [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "0 []"
    for command in cli.COMMANDS:
        assert command.split()[-1] in done.stdout


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, wutdet; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_public_names_resolve():
    import wutdet

    for name in wutdet.__all__:
        assert getattr(wutdet, name) is not None
    # Importing the evaluation room must not replace the function.
    importlib.import_module("wutdet.evaluation.coco")
    assert callable(wutdet.evaluate)
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        wutdet.evalute  # noqa: B018


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_a_configuration_help_and_target(command, capsys):
    class_name, target = cli.COMMANDS[command]
    assert dataclasses.is_dataclass(getattr(config, class_name))
    module, function = target.split(":")
    if not command.startswith(("train", "demo")):  # those need the extra 'train'
        assert callable(getattr(importlib.import_module(module), function))
    with pytest.raises(SystemExit) as stop:
        cli.run([*command.split(), "--help"])
    assert stop.value.code == 0
    assert f"wutdet {command}" in capsys.readouterr().out


def test_every_option_is_explained():
    source = importlib.import_module("inspect").getsource(config)
    for name, _ in cli.COMMANDS.values():
        cls = getattr(config, name)
        classes = [c.__name__ for c in cls.__mro__ if dataclasses.is_dataclass(c)]
        body = "".join(source.split(f"class {one}")[1].split("\n@dataclass")[0] for one in classes)
        assert cls.__doc__
        for field in dataclasses.fields(cls):
            if field.name not in ("augment", "tiny", "bakeoff", "lowbit"):  # their own classes explain them
                after = body.split(f"    {field.name}:")[1].split("\n", 1)[1].lstrip()
                assert after.startswith('"""'), f"{name}.{field.name} has no docstring"


def test_unknown_command_suggests_and_exits_2():
    done = run_wutdet("scor", "a.json", "b.json")
    assert done.returncode == 2
    assert "Did you mean 'score'?" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(UsageError, match="data split"):
        cli.run(["data", "splitt", "x"])


def test_mistyped_option_suggests_and_exits_2():
    done = run_wutdet("eval", "m.onnx", "d.json", "--imgsize", "640")
    assert done.returncode == 2
    assert "--imgsz" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_file_exits_3_and_names_it():
    done = run_wutdet("data", "stats", "no such file.json")
    assert done.returncode == 3
    assert "no such file.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_key_equals_value_is_accepted():
    parsed = cli.parse(config.EvalConfig, "eval", ["m.onnx", "d.json", "imgsz=1280", "max-det=500"])
    assert (parsed.imgsz, parsed.max_det) == (1280, 500)
    # A path that happens to hold '=' is left alone.
    assert cli.parse(config.EvalConfig, "eval", ["m.onnx", "run=1/d.json"]).inputs[-1] == "run=1/d.json"


def test_flags_and_dotted_names_as_key_equals_value():
    parsed = cli.parse(config.EvalConfig, "eval", ["m.onnx", "d.json", "leaks=false", "corrupt=True"])
    assert (parsed.leaks, parsed.corrupt, parsed.inputs) == (False, True, ("m.onnx", "d.json"))
    words = ["d", "augment.paste=0.3", "augment.low_light=false", "quantize-inputs=true", "extra=box=7.5", "epochs=3"]
    parsed = cli.parse(config.TrainConfig, "train", words)
    assert (parsed.augment.paste, parsed.augment.low_light, parsed.quantize_inputs) == (0.3, False, True)
    assert (parsed.extra, parsed.epochs) == (("box=7.5",), 3)
    # What follows an option is its value, whatever it looks like.
    words = ["d", "--classes", "seed=ship", "--extra", "box=7.5", "lrf=0.5", "--augment.scale", "-1", "epochs=3"]
    parsed = cli.parse(config.TrainConfig, "train", words)
    assert (parsed.classes, parsed.extra, parsed.epochs) == ("seed=ship", ("box=7.5", "lrf=0.5"), 3)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epoch=3", "unknown option 'epoch' in 'epoch=3'. Did you mean 'epochs'"),
        ("augment.pasta=1", "Did you mean 'augment.paste'"),
        ("quantize-inputs=maybe", "true or false, received 'quantize-inputs=maybe'"),
    ],
)
def test_a_mistyped_key_equals_value_is_refused(word, message):
    with pytest.raises(UsageError, match=message):
        cli.parse(config.TrainConfig, "train", ["d", word])


def test_json_goes_to_a_file_or_to_stdout(tmp_path, monkeypatch, capsys):
    class Result:
        exit_code = 0

        def to_text(self):
            return "for people"

        def to_json(self):
            return {"schema": "wutdet.score/2", "stats": {"AP": None}}

    monkeypatch.setattr("wutdet.scorecard.run_score", lambda config: Result())
    target = tmp_path / "out.json"
    assert cli.run(["score", "a", "b", "--json", str(target)]) == 0
    assert json.loads(target.read_text()) == Result().to_json()
    assert capsys.readouterr().out == "for people\n"
    assert cli.run(["score", "a", "b", "json=-"]) == 0
    assert json.loads(capsys.readouterr().out) == Result().to_json()
    assert cli.run(["score", "a", "b", "--json=-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == Result().to_json()
    assert captured.err == "for people\n"


def test_what_was_found_is_printed_before_the_error_of_a_file_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    class Result:
        def to_text(self):
            return "AP .5"

        def to_json(self):
            return {"AP": 0.5}

    def measured(config):
        with finished(Result()):
            raise WutdetError("cannot write (No space left on device)", file="x.csv")

    monkeypatch.setattr("wutdet.scorecard.run_score", measured)
    target = tmp_path / "out.json"
    with pytest.raises(WutdetError, match="No space left"):
        cli.run(["score", "a", "b", "--json", str(target)])
    assert capsys.readouterr().out == "AP .5\n"
    assert json.loads(target.read_text()) == {"AP": 0.5}


def test_json_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr("wutdet.scorecard.run_score", lambda config: pytest.fail("work was done"))
    with pytest.raises(WutdetError, match="cannot write"):
        cli.run(["score", "a", "b", "--json", str(tmp_path / "file" / "x.json")])


def test_a_name_that_stdout_cannot_show_does_not_end_a_command():
    shown = "print(os.fsdecode(b'h' + bytes([255])), chr(0x6e2f)) or 0"
    code = f"import os, wutdet.cli as c; c.run = lambda words: {shown}; c.main()"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, [b"h?", b"?"]), done.stderr


def test_errors_carry_place_hint_and_exit_code():
    error = DataError("odd box", file="a.xml", line=7, hint="mend it")
    assert str(error) == "a.xml:7: odd box\n  hint: mend it"
    assert (error.exit_code, WutdetError("x").exit_code) == (3, 1)


def test_defaults_become_json():
    values = config.to_json(config.TrainConfig("data.yaml"))
    assert json.loads(json.dumps(values))["augment"]["fog"] is True
