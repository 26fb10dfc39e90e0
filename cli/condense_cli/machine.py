"""The options that say where and how things are computed."""

from __future__ import annotations

from collections.abc import Callable

import click

from condense_cli.options import F, option


def compute_options(section: str, *, compiles: bool = True) -> Callable[[F], F]:
    """Return the options --device, --precision, --loaders, --jpeg-decoder and, if the command compiles, --compile."""

    def add(function: F) -> F:
        loaders = option(
            "--loaders",
            section=section,
            type=click.IntRange(min=0),
            metavar="N",
            help="Processes that decode images from files; 0 for threads. They change no result.",
            default_shown="by the cores",
        )
        precision = option(
            "--precision",
            section=section,
            type=click.Choice(["auto", "bf16", "fp32"]),
            help="bfloat16 where it is fast, always, or never.",
            default_shown="auto",
        )
        device = option(
            "--device", section=section, metavar="NAME", help="cpu, cuda, cuda:1, mps.", default_shown="auto"
        )
        decoder = option(
            "--jpeg-decoder",
            section=section,
            type=click.Choice(["cpu", "cuda"]),
            help="Decode JPEG files that do not fit into memory on the CUDA device; its pixels differ a little.",
            default_shown="cpu",
        )
        compiling = option(
            "--compile",
            section=section,
            type=click.Choice(["auto", "on", "off", "graphs"]),
            help="Compile networks in recover and students' training; auto: if it pays; graphs: as CUDA graphs too.",
            default_shown="auto",
        )
        rest = loaders(decoder(function))
        return device(precision(compiling(rest) if compiles else rest))

    return add


def keep_option(section: str) -> Callable[[F], F]:
    """Return the option --keep-minutes."""
    return option(
        "--keep-minutes",
        section=section,
        type=click.FloatRange(min=0),
        metavar="N",
        help="Minutes after which unfinished work is kept at its next epoch or step, to go on with; 0 keeps each.",
        default_shown="5",
    )
