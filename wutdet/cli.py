"""The ``wutdet`` command: parse, call one library function, print. No logic lives here.

stdout carries results, stderr everything for people. Exit codes: see wutdet/errors.py.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys

# command -> (configuration class in wutdet.config, "module:function" that runs it)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("DemoConfig", "wutdet.demo:run"),
    "data render": ("RenderConfig", "wutdet.scenes.render:run"),
    "data convert": ("ConvertConfig", "wutdet.dataset.convert:run"),
    "data split": ("SplitConfig", "wutdet.dataset.split:run"),
    "data audit": ("AuditConfig", "wutdet.dataset.audit:run"),
    "data merge": ("MergeConfig", "wutdet.dataset.merge:run"),
    "data stats": ("StatsConfig", "wutdet.dataset.stats:run"),
    "data advise": ("AdviseConfig", "wutdet.train.advise:run"),
    "train": ("TrainConfig", "wutdet.train.run:run"),
    "average": ("AverageConfig", "wutdet.train.average:run"),
    "eval": ("EvalConfig", "wutdet.scorecard:run_eval"),
    "score": ("ScoreConfig", "wutdet.scorecard:run_score"),
    "export": ("ExportConfig", "wutdet.export.run:run"),
    "detect": ("DetectConfig", "wutdet.runtime.detect:run"),
    "bench": ("BenchConfig", "wutdet.bench.run:run"),
    "bench tiling": ("TilingConfig", "wutdet.bench.tiling:run"),
    "report": ("ReportConfig", "wutdet.report.run:run"),
}

HELP = """usage: wutdet COMMAND [options]      (wutdet COMMAND --help lists the options)

  demo                       the main job on rendered scenes: from data to report, offline, on a laptop CPU
  data render OUT            render labelled sea scenes
  data convert DATA OUT      between VOC, COCO, YOLO (and from SMD, CVAT, LabelMe)
  data split DATA            split by sequence, with a digest
  data audit DATA...         damage, wrong boxes, duplicates, leaks between splits
  data merge PART... --out   several sets as one, without duplicates and without what resembles a training set
  data stats DATA            counts, sizes, density, scenes, conditions
  data advise DATA           input size, crops, head and recipe that fit the sizes of the ships, and why
  train DATA                 train a detector
  average MODEL...           one checkpoint from several trainings of a network, often better than each
  eval MODEL [MODEL] DATA    score a checkpoint or artefact, or compare two
  score GT.json DT.json...   score COCO result files, or compare two
  export MODEL               make an ONNX artefact (fp32, int8, 4 bits) that passes its acceptance gate
  detect SOURCE              pictures, folders, video, camera or rtsp:// to boxes
  bench MODEL...             time artefacts side by side
  bench tiling MODEL DATA    what tiles gain and cost, and the best policy within a time
  report RUN                 write a run's HTML report again

Every command takes --json FILE ('-' for stdout) for machine-readable results, and key=value for --key value
(flag=true for --flag, flag=false for --no-flag, augment.paste=0.3 for --augment.paste 0.3).
Exit codes: 0 ok, 1 other, 2 usage, 3 data, 4 model, 5 export, 6 missing extra, 130 interrupted,
143 told to end (detect).
"""


def _take_option(arguments: list[str], name: str) -> tuple[str | None, list[str]]:
    """Removes ``--name VALUE``, ``--name=VALUE`` or ``name=VALUE``; returns the value and what is left."""
    from wutdet.errors import UsageError

    value, rest, index = None, [], 0
    while index < len(arguments):
        word = arguments[index]
        if word == name:
            if index + 1 == len(arguments):
                raise UsageError(f"{name} needs a value")
            value, index = arguments[index + 1], index + 2
            continue
        if word.startswith((f"{name}=", f"{name[2:]}=")):
            value = word.partition("=")[2]
        else:
            rest.append(word)
        index += 1
    return value, rest


def _options(config_class: type, prefix: str = "") -> dict[str, type]:
    """Type of every option by its name with underscores, those of nested configurations (augment.paste) included."""
    import dataclasses
    import typing

    found = {}
    for name, kind in typing.get_type_hints(config_class).items():
        if dataclasses.is_dataclass(kind):
            found.update(_options(kind, f"{prefix}{name}."))
        else:
            found[prefix + name] = kind
    return found


def _assignment(word: str, key: str, value: str, kind: type) -> list[str]:
    """``key=value`` as ``--key value``, and ``flag=true`` as ``--flag`` or ``--no-flag``."""
    from wutdet.errors import UsageError

    if kind is not bool:
        return [f"--{key}", value]
    if value.lower() not in ("true", "false"):
        raise UsageError(f"{key} is true or false, received '{word}'")
    parent, dot, flag = key.replace("_", "-").rpartition(".")
    return [f"--{parent}{dot}{'' if value.lower() == 'true' else 'no-'}{flag}"]


def _without_assignments(options: dict[str, type], arguments: list[str]) -> list[str]:
    """The arguments with ``key=value``, as ultralytics' users write it, in the form of options.

    Raises:
        UsageError: a flag that is neither true nor false, or a key that looks like a mistyped one.
    """
    import typing

    from wutdet.errors import UsageError, suggest

    rewritten: list[str] = []
    is_value = in_list = False  # what the option before makes of a word
    for word in arguments:
        key, equals, value = word.partition("=")
        name = key.lstrip("-").replace("-", "_")
        kind = options.get(name)
        if word.startswith("-") and not (is_value and word[1:2].isdigit()):
            flag = kind is bool or name.rpartition(".")[2].startswith("no_")
            is_value, in_list = not equals and not flag, typing.get_origin(kind) is tuple
            rewritten.append(word)
            continue
        if equals and kind is not None and not is_value:
            rewritten += _assignment(word, key, value, kind)
            in_list = typing.get_origin(kind) is tuple
        else:
            mistyped = equals and not is_value and not in_list and name.replace(".", "_").isidentifier()
            if mistyped and (close := suggest(name, options)) and not os.path.exists(word):
                raise UsageError(f"unknown option '{key}' in '{word}'.{close.replace('_', '-')}")
            rewritten.append(word)
        is_value = False
    return rewritten


def parse(config_class: type, command: str, arguments: list[str]):
    """The configuration that the arguments describe. Exits with 2 and a suggestion on a typo."""
    import tyro

    options = _options(config_class)
    rewritten = _without_assignments(options, arguments)
    if "recipe" not in options:
        return tyro.cli(config_class, prog=f"wutdet {command}", args=rewritten)
    from wutdet.recipes import settings_of

    name, _ = _take_option(rewritten, "--recipe")
    default = config_class(**settings_of(name or "default"))
    return tyro.cli(config_class, prog=f"wutdet {command}", args=rewritten, default=default)


def _find_command(arguments: list[str]) -> tuple[str, list[str]]:
    from wutdet.errors import UsageError, suggest

    for words in (2, 1):
        command = " ".join(arguments[:words])
        if command in COMMANDS:
            return command, arguments[words:]
    given = " ".join(arguments[: 2 if arguments[0] == "data" else 1])
    raise UsageError(f"unknown command '{given}'.{suggest(given, COMMANDS)}", hint="wutdet --help lists the commands")


def run(arguments: list[str]) -> int:
    """Runs one command line (without the program name) and returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        from wutdet import __version__

        print(__version__)
        return 0
    if arguments[0] == "data" and (len(arguments) == 1 or arguments[1] in ("-h", "--help")):
        print("".join(line + "\n" for line in HELP.splitlines() if line.startswith(("usage", "  data"))), end="")
        return 0
    command, rest = _find_command(arguments)
    json_file, rest = _take_option(rest, "--json")
    config_name, target = COMMANDS[command]
    config = parse(getattr(importlib.import_module("wutdet.config"), config_name), command, rest)
    if json_file not in (None, "-"):
        from wutdet.files import check_output_file

        check_output_file(json_file)
    module, function = target.split(":")
    if command == "detect":
        _end_as_on_ctrl_c()
    try:
        result = getattr(importlib.import_module(module), function)(config)
    except Exception as error:
        # Hours of work may lie behind a file that cannot be written at the end.
        if (found := getattr(error, "finished_result", None)) is not None:
            _show(found, json_file)
        raise
    _show(result, json_file)
    return getattr(result, "exit_code", 0)


def _end_as_on_ctrl_c() -> None:
    """SIGTERM, which ends services, lets files be finished too. Not where processes are started, which inherit it."""
    import signal

    from wutdet.errors import Terminated

    def end(signum, stack):
        raise Terminated

    signal.signal(signal.SIGTERM, end)


def _show(result, json_file: str | None) -> None:
    """The result on stdout, and as JSON where it was asked for (``-``: on stdout in the text's place)."""
    text = result.to_text()
    if json_file == "-":
        print(json.dumps(result.to_json(), indent=1, ensure_ascii=False, allow_nan=False))
        print(text, file=sys.stderr)
        return
    if text:
        print(text)
    if json_file:
        from wutdet.files import write_json

        write_json(json_file, result.to_json())


def main() -> None:
    """Entry point of the ``wutdet`` script."""
    from wutdet.errors import Terminated, WutdetError

    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.INFO)
    logging.getLogger("wutdet").setLevel(os.environ.get("WUTDET_LOG", "INFO").upper())
    if hasattr(sys.stdout, "reconfigure"):  # a file name that this terminal cannot show must not end a run
        sys.stdout.reconfigure(errors="replace")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except WutdetError as error:
        print(f"wutdet: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt as stop:
        print("wutdet: interrupted; what was finished is kept", file=sys.stderr)
        code = 143 if isinstance(stop, Terminated) else 130
    except BrokenPipeError:  # the reader of our stdout went away (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


if __name__ == "__main__":
    main()
