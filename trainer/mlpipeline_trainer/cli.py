"""The command line: `run`, `presets`, or a script as its first word."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from . import params, presets, runner, settings
from .errors import ExitCode, ParameterError, UsageError, describe_exit_codes
from .log import say

PROG = "python -m mlpipeline_trainer"

# Option -> the variable that it stands for.
OPTIONS = {
    "--entrypoint": ("MLP_ENTRYPOINT", "module:function, or a .py script"),
    "--dataset": ("MLP_DATASET", "a built-in data set"),
    "--data-uri": ("MLP_DATA_URI", "where the data is"),
    "--data-dir": ("MLP_DATA_DIR", "folder for the data"),
    "--model-dir": ("MLP_MODEL_DIR", "folder in which the model is saved"),
    "--model-uri": ("MLP_MODEL_URI", "where the model finally goes"),
    "--checkpoint-dir": ("MLP_CHECKPOINT_DIR", "folder for checkpoints"),
    "--result-file": ("MLP_RESULT_FILE", "the result, JSON"),
    "--termination-log": ("MLP_TERMINATION_LOG", "the result within 4096 bytes"),
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of everything but a bare script."""
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Runs a TensorFlow/Keras training; its metrics, model and cause of failure go to files.",
        epilog=f"A script runs as it is, with its own arguments: {PROG} train.py --lr 0.1",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{run,presets}")
    run = commands.add_parser(
        "run",
        help="run a training",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs a preset or your own code. Options go before environment variables.",
        epilog=_epilog(),
    )
    run.add_argument(
        "--preset", choices=sorted(presets.PRESETS), help="a training that comes with the trainer"
    )
    run.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter; may be repeated",
    )
    for option, (variable, what) in OPTIONS.items():
        run.add_argument(option, metavar="…", help=f"{what} ({variable})")
    run.add_argument("--expect-gpu", action="store_true", help="fail if there is no GPU (MLP_EXPECT_GPU=1)")
    commands.add_parser("presets", help="list the presets and their parameters")
    return parser


def _epilog() -> str:
    width = max(len(name) for name in settings.VARIABLES)
    variables = "\n".join(f"  {name:<{width}}  {what}" for name, what in settings.VARIABLES.items())
    codes = describe_exit_codes()
    return f"environment variables:\n{variables}\n\nexit codes, and the reasons in the result:\n{codes}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)  # A log that is followed must not lag behind.
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0].endswith(".py"):
        return _run({"MLP_ENTRYPOINT": arguments[0]}, arguments[1:], None, params.from_args(arguments[1:]))
    options = build_parser().parse_args(arguments)
    if options.command == "presets":
        return _list_presets()
    given = {
        variable: value
        for option, (variable, _) in OPTIONS.items()
        if (value := getattr(options, option[2:].replace("-", "_"))) is not None
    }
    if options.expect_gpu:
        given["MLP_EXPECT_GPU"] = "1"
    if options.preset and options.entrypoint:
        build_parser().error("give --preset or --entrypoint, not both")
    try:
        overrides = params.from_pairs(options.param)
    except ParameterError as error:
        build_parser().error(str(error))
    return _run(given, None, options.preset, overrides)


def _run(
    given: Mapping[str, str], args: Sequence[str] | None, preset: str | None, overrides: Mapping[str, str]
) -> int:
    """Runs a training; `args` is the command line of a bare script."""
    environ = {**os.environ, **given}
    try:
        read = settings.from_env(environ)
    except UsageError as error:
        return _refuse_early(environ, error)
    try:
        read = replace(read, parameters=read.parameters.merged(overrides))
        if args is not None:
            # What was typed comes last, so that it wins in the script's own parser.
            args = [
                *params.Parameters(
                    {n: v for n, v in read.parameters.items() if n not in overrides}
                ).as_args(),
                *args,
            ]
    except UsageError as error:
        return _final(read, error)
    try:
        return runner.run(read, preset, args)
    except UsageError as error:
        say(str(error))
        return ExitCode.USAGE


def _refuse_early(environ: Mapping[str, str], error: UsageError) -> int:
    """A variable is wrong; the places for the last word are read without the others."""
    places = {
        n: environ[n]
        for n in ("MLP_RESULT_FILE", "MLP_TERMINATION_LOG", "MLP_RUN_NAME", "MLP_STEP")
        if n in environ
    }
    return _final(settings.from_env(places), error)


def _final(read: settings.Settings, error: UsageError) -> int:
    try:
        return runner.refuse(read, error)
    except UsageError as second:
        say(str(error))
        say(str(second))
        return ExitCode.USAGE


def _list_presets() -> int:
    for preset in presets.PRESETS.values():
        print(f"{preset.name}: {preset.summary}")
        for spec in preset.specs:
            name = spec.name + "".join(f", {alias}" for alias in spec.aliases)
            print(f"  {name:<20} {params.canonical(spec.default):<8} {spec.help}")
    return ExitCode.OK
