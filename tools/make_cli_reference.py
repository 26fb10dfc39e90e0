"""Write docs/cli.md from the commands themselves: `python tools/make_cli_reference.py`. Imports no torch.

tests/test_cli_reference.py fails if docs/cli.md is not what this makes.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from condense_cli.main import COMMANDS, cli

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 118

INTRODUCTION = """\
# The command line

This page is made from the commands by `python tools/make_cli_reference.py`. `condense COMMAND --help` prints the same.

## Settings

Every number and every part of a run is a setting with a dotted key. `--dry-run` prints all of them with their values,
and the work ahead; it computes and writes nothing. It refuses what the run would refuse at its start, as far as that
can be told without torch: a folder of images, a checkpoint or a kind of device that is not there, more images per class
than the smallest class has, a name that is taken, a run that cannot go on. `--set KEY=VALUE` changes a setting and may
be repeated:

    condense run --method wmdd --set recover.iterations=200 --set teacher.model.width=32 --dry-run

| you want | you write |
|---|---|
| a number, a word, true or false | `--set recover.lr=0.05`, `--set recover.augment.flip=false` |
| several numbers in one value | `--set recover.augment.crop_scale=0.3,1` |
| no value, where a setting allows it | `--set recover.augment.crop_scale=none` |
| another preset of the method | `--set preset=paper` |
| another weight of a loss, or one more loss | `--set targets.cross-entropy=0.5` |
| an option of a loss | `--set targets.barycenter.form=squares` |
| another network or initializer | `--set teacher.model=resnet18`, `--set initializer=real` |
| an option of that network or initializer | `--set teacher.model.width=32`, `--set initializer.std=0.5` |

`recover.` may be left out: `--set lr=0.05`. A new choice of network forgets the options of the network before it, so
choose the network first and set its options after it. `condense components show NAME` and `condense models show
NAME` print the options of a part.

Settings apply in this order, and later ones win: the recipe of the method; what the dataset says for every method,
above all its teacher; the presets of the method for the number of images per class, for the kind of images, and for
the dataset; `--set`.

There are three groups. They decide what has to be computed again:

| group | what it holds | what depends on it |
|---|---|---|
| recipe | method, dataset, losses, parametrization, `recover.*`, `teacher.*`, `pool.*`, ipc, seed, validation | \
the synthetic images |
| evaluation | `protocol.*`, `student.*`, `evaluator`, number of students, reference | the accuracy of students |
| machine | device, precision, folder of datasets | rounding, which differs between types of device and precisions |

Settings that have an option of their own, such as `--ipc` and `--seed`, are refused in `--set`. So is a setting that
another one leaves unread, such as `recover.momentum` beside Adam, `protocol.temperature` with hard labels, or
`teacher.lr` beside a checkpoint. In a comparison one row or column has to read it; the rows that do not are noted.

### In a comparison

`condense compare` and `condense ablate` take settings for all rows but the reference, and `condense compare` also for
the rows of one method:

    condense compare wmdd dm --set recover.iterations=100 --set dm:recover.lr=0.5

Settings below `teacher.`, `student.`, `protocol.`, `evaluator` and `dataset.` are the same for every row, because
otherwise the rows could not be compared. So a comparison ignores the teacher that a method would choose.

`condense sweep` takes several values for a setting, with commas between them. If one value has commas of its own, put
semicolons between the values. The rows are all combinations:

    condense sweep --method wmdd --set recover.lr=0.05,0.1 --set "recover.augment.crop_scale=0.08,1;0.5,1"

**Published accuracies.** If the authors of a method reported an accuracy for the dataset and the images per class, it
stands in a column of its own, with their student in brackets. It was reached with their teacher, epochs and protocol,
so it is not comparable with the numbers beside it. `condense methods show NAME` has all of them, with the conditions:

    Published accuracies, %
      by images per class (IPC); ± as the source states it
      student resnet18: teacher and student are alike and see 224x224; students
      train for 300 epochs with soft labels
      Liu et al., ICCV 2025, main table; also on the project page of Liu-Hy/WMDD
        IPC            1           10          50          100
        imagenette     40.2 ± 0.6  64.8 ± 0.4  83.5 ± 0.3  87.1 ± 0.3
        tiny-imagenet  7.6 ± 0.2   41.8 ± 0.1  59.4 ± 0.5  61.0 ± 0.3
        imagenet-1k    3.2 ± 0.3   38.2 ± 0.2  57.6 ± 0.5  60.7 ± 0.2

In a comparison it looks like this. 5 steps, 20 epochs and a twelfth of the images are far from what the papers had:

    condense compare dm dc --dataset fashion-mnist --ipc 1 --seeds 2 --set iterations=5 --epochs 20 \\
        --set teacher.epochs=1 --no-scores

    fashion-mnist, 1 image per class

      trained on                  dc, 20 epochs   difference     published
     ───────────────────────────────────────────────────────────────────────────
      dm                          67.1 ± 1.3                     –
      dc                          58.3 ± 17.8     -8.8 ± 16.5    70.5 (convnet)
      random (reference)          48.6 ± 69.9     -18.5 ± 71.2   –
      all real images (teacher)   73.6

      dc, 20 epochs: Not settled: dm has the highest mean, +8.8 ± 16.5 over dc,
      which may be chance

      dc, 20 epochs       LRS   ARS       distil   train one   stored   compression
     ───────────────────────────────────────────────────────────────────────────────
      dm                0.295     –   1 min 12 s       5.1 s   7.2 kB          544×
      dc                0.257     –   5 min 54 s       7.6 s   8.8 kB          446×
      random            0.219     –       0.26 s       6.8 s   5.2 kB          748×
      (reference)

### Networks

Wherever a network is named, `NAME(OPTION=VALUE,...)` sets its options, and tables show it the same way. Commas outside
the parentheses separate several networks. A shell needs quotes around parentheses:

    condense run --method wmdd --set "teacher.model=convnet(width=32,norm=instance)" --dry-run
    condense evaluate runs/mine --student resnet18,convnet --student "convnet(depth=4,norm=instance)"

**Several students.** `condense evaluate` judges one distilled dataset with each network under one protocol, and writes
the table into `evaluations/` in the run directory. In `condense compare`, `sweep` and `ablate` each network of
`--student` is a column. All columns learn from the same images; nothing is distilled again:

    condense compare wmdd dm --student "resnet18,convnet,timm:vit_tiny_patch16_224" --epochs 300

With a few steps and 10 epochs, which is too short for any network,

    condense compare wmdd dm --ipc 1 --seeds 2 --student convnet,timm:resnet10t,timm:vit_tiny_patch16_224 --epochs 10 \\
        --set teacher.epochs=1 --set wmdd:iterations=10 --set dm:iterations=5 --no-scores

prints

    fashion-mini, 1 image per class

      trained on                  convnet       difference
     ───────────────────────────────────────────────────────
      wmdd                        10.7 ± 6.4
      dm                          14.1 ± 39.4   +3.4 ± 45.7
      random (reference)          16.1 ± 59.1   +5.3 ± 65.4
      all real images (teacher)   78.3

      trained on                  timm:resnet10t   difference
     ──────────────────────────────────────────────────────────
      wmdd                        10.0 ± 0.0
      dm                          10.0 ± 0.0       0.0 ± 0.0
      random (reference)          11.0 ± 12.7      +1.0 ± 12.7
      all real images (teacher)   78.3

      trained on                  timm:vit_tiny_patch16_224   difference
     ─────────────────────────────────────────────────────────────────────
      wmdd                        12.0 ± 5.1
      dm                          14.4 ± 55.3                 +2.4 ± 60.4
      random (reference)          11.3 ± 17.2                 -0.6 ± 22.2
      all real images (teacher)   78.3

      convnet: Not settled: random has the highest mean, +2.0 ± 19.7 over dm, which
      may be chance
      timm:resnet10t: Not settled: random has the highest mean, +1.0 ± 12.7 over
      wmdd, which may be chance
      timm:vit_tiny_patch16_224: Not settled: dm has the highest mean, +2.4 ± 60.4
      over wmdd, which may be chance

      fkd, 10 epochs, 3
      students                 distil            train one     stored   compression
     ───────────────────────────────────────────────────────────────────────────────
      wmdd                     28.6 s    8.5 s to 1 min 15   352.5 kB           11×
                                                         s
      dm                   1 min 01 s   12.8 s to 1 min 33   351.2 kB           11×
                                                         s
      random (reference)       0.33 s   11.5 s to 1 min 27   349.2 kB           11×
                                                         s

**Several teachers.** With several networks in `--teacher-model` every row is there once for each teacher, and so are
the random images, because protocols such as `fkd` take their labels from the teacher:

    condense compare wmdd sre2l --teacher-model "resnet18,convnet" --student resnet18

Two differences are shown, both paired by seed. One is to the first method *under the same teacher*: labels and students
are the same, so the images make the difference. The other is to *the same method under the first teacher*: what the
teacher makes of images and labels together. Bold, and who leads, are among the rows of one teacher. Students are the
same networks with the same initial weights in every row; where the protocol wants a student like the teacher, that is
the first teacher. All teachers are trained the same way.

    condense compare wmdd --ipc 1 --seeds 2 --teacher-model "convnet(width=64),convnet(width=16)" --student convnet \\
        --epochs 10 --set teacher.epochs=1 --set iterations=10 --no-scores

prints, after so short a training,

    fashion-mini, 1 image per class

      trained on        fkd, 10 epochs   to wmdd       to teacher convnet(width=64)
     ───────────────────────────────────────────────────────────────────────────────
      wmdd              10.7 ± 6.4
      teacher=convnet
      (width=64)
      random            16.1 ± 59.1      +5.3 ± 65.4
      teacher=convnet
      (width=64)
      (reference)
      wmdd              9.9 ± 2.5                      -0.8 ± 3.8
      teacher=convnet
      (width=16)
      random            14.2 ± 22.2      +4.2 ± 24.8   -1.9 ± 36.8
      teacher=convnet
      (width=16)
      (reference)
      all real images   78.3
      (teacher
      convnet(width=6
      4))
      all real images   77.5
      (teacher
      convnet(width=1
      6))

      fkd, 10 epochs: Not settled: random teacher=convnet(width=64) has the highest
      mean, +5.3 ± 65.4 over wmdd teacher=convnet(width=64), which may be chance
      fkd, 10 epochs: Not settled: random teacher=convnet(width=16) has the highest
      mean, +4.2 ± 24.8 over wmdd teacher=convnet(width=16), which may be chance

      fkd, 10 epochs                   distil   train one     stored   compression
     ──────────────────────────────────────────────────────────────────────────────
      wmdd teacher=convnet(width=64)   28.6 s      12.3 s   352.5 kB           11×
      random                           0.33 s      15.6 s   349.2 kB           11×
      teacher=convnet(width=64)
      (reference)
      wmdd teacher=convnet(width=16)    4.0 s       6.7 s    40.4 kB           97×
      random                           0.30 s       6.2 s    37.4 kB          105×
      teacher=convnet(width=16)
      (reference)

## Before a run: what it takes

`condense plan` takes the options of a run, counts the images that pass through networks in each stage, times a few
steps of the real networks on made-up images of the real size, and says how long a run takes, how much memory and how
many bytes on disk. The dataset need not be there. A folder is looked at:

    condense plan --method wmdd --dataset imagenet-1k --ipc 50 --device cuda
    condense plan --method sre2l --dataset cifar100 --ipc 10 --budget-time 2h --budget-memory 8GB

With a budget it says which settings make the run fit. For a machine that is elsewhere, give its speed in images per
second, which you may know from its earlier runs; `load` is for images that are decoded from files:

    condense plan --method wmdd --dataset imagenet-1k --ipc 50 --throughput forward=9000,backward=3000,load=2900

It prints

    wmdd on imagenet-1k, 50 images per class, seed 0

      dataset   1,000 classes, 1,281,167 + 50,000 images, 3x224x224
      squeeze   take resnet18 with its pretrained weights, without training
      measure   one pass for barycenter, class-batchnorm
      recover   2000 iterations a chunk, 50 images per class
      relabel   nothing to do: labels are online
      evaluate  3 students x 300 epochs by fkd, and as many on random real images

      stage      steps   forward   backward          time   memory
     ──────────────────────────────────────────────────────────────
      squeeze      782    50.0 k          0        17.2 s        –
      measure    5.0 k     1.3 M          0    7 min 22 s        –
      recover    1.0 M     100 M      100 M   12 h 21 min   3.3 GB
      relabel        –         –          –             –        –
      evaluate   1.8 M     180 M     90.0 M   13 h 55 min   2.0 GB

      time    about 26 h 24 min (given throughputs; another machine)
      memory  about 3.3 GB at the most
      disk    about 15.1 GB: distilled images 7.5 GB, chunks 7.5 GB, teacher 46.8 MB
      Forward, backward: how many times an image passes through a network in that
      direction.

One pair of rates stands for all networks of the run. Without `load`, the reading of large datasets is not in the time.
`condense compare --dry-run` counts the images of a whole comparison in the same way. It times nothing, so that it
answers at once; `condense plan` of each method gives the seconds:

    condense compare wmdd dm --dataset cifar10 --ipc 1,10 --student resnet18,convnet --epochs 300 --dry-run

    Work ahead
      cells         18 (0 done): a row, distilled for one ipc and seed
      students      108 (0 done): 1 for each cell and column
      all teachers  10.0 M images forward, 10.0 M backward
      all images    314 M images forward, 6.7 M backward
      all students  4.0 M images forward, 1.8 M backward
      time          `condense plan --method METHOD` times one run on this machine

      protocol fkd, the one that wmdd is reported under; --protocol chooses others

## Going on with earlier work

A run keeps every finished piece: the teacher, what the losses measured, every chunk of images, every student.
`--resume` goes on behind them. The recipe and the kind of machine must be those of the earlier run. The protocol, the
number of students, the number of the GPU and the folder of datasets may differ:

    condense run --method wmdd --name mine --students 1
    condense run --method wmdd --name mine --students 3 --resume
    condense run --from runs/mine --name again

The last line repeats the run from its run.json in a new folder. A comparison needs no such option: the same command
again uses what is finished below `--out` and goes on with the rest.

## Exit status

| status | meaning |
|---|---|
| 0 | everything worked |
| 1 | an error, such as an unknown name or setting; or a row of a comparison failed, the others are in the table |
| 2 | the command line cannot be read: an unknown command or option, or an argument that is missing |
| 130, 143, 129 | Ctrl-C, SIGTERM, SIGHUP; what is finished is kept, and the last line says how to go on |

## Environment variables

| variable | meaning |
|---|---|
| `CONDENSE_CACHE_DIR` | the folder of indexes, and of datasets where `CONDENSE_DATA_DIR` is not given |
| `CONDENSE_DATA_DIR` | the folder of datasets, where `--data-dir` is not given |
| `CONDENSE_DISABLE_PLUGINS` | plugins to leave out, `NAME,NAME,...` |
| `CONDENSE_TRACEBACK` | `1` shows where an error arose, as `--traceback` does |
| `OMP_WAIT_POLICY` | whether waiting threads spin: `ACTIVE`, or `PASSIVE`, which `condense` sets if it has none |

Without `CONDENSE_DATA_DIR` and `--data-dir`, datasets are in the cache folder of the user: `~/.cache/condense/data` on
Linux. `OMP_WAIT_POLICY=ACTIVE` makes runs about a quarter faster on a CPU that nothing else uses, and several times
slower where other programs want the cores.
"""

# The heading of options that have none in the help.
_OUTPUT = "Output"
# Commands that share most options with an earlier one.
_LIKE = {"sweep": "compare", "ablate": "compare"}


def reference() -> str:
    """Return docs/cli.md."""
    root = click.Context(cli, info_name="condense")
    contexts = {name: click.Context(found, info_name=name, parent=root) for name, found in _commands(root)}
    lines = [INTRODUCTION, "## Options of every command", ""]
    lines += ["These stand before the name of the command. `-h` and `--help` work everywhere.", ""]
    lines += _table(_row(option) for option in _options(cli))
    for name, context in contexts.items():
        if not isinstance(context.command, click.Group):
            lines += _command(context, contexts.get(_LIKE.get(name, "")))
    lines += _listings([each for each in contexts.values() if isinstance(each.command, click.Group)])
    return "\n".join(lines)


def _commands(root: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        found = cli.get_command(root, name)
        assert found is not None, name
        yield name, found


def _command(context: click.Context, like: click.Context | None) -> Iterator[str]:
    """Yield the lines about one command. like: a command whose options are not repeated."""
    yield from (f"## `{context.command_path}`", "", f"    {_usage(context)}", "")
    yield from (_text(context.command.help or ""), "")
    repeated = {_row(option) for option in _options(like.command)} if like else set()
    sections: dict[str, list[tuple[str, str, str]]] = {}
    for option in _options(context.command):
        row = _row(option)
        if row not in repeated:
            sections.setdefault(getattr(option, "section", _OUTPUT), []).append(row)
    for title, rows in sections.items():
        yield from (f"**{title}**", "", *_table(rows))
    if like:
        yield from (f"All other options are those of `{like.command_path}`.", "")


def _listings(contexts: list[click.Context]) -> Iterator[str]:
    """Yield the lines about the commands that list something and show one of it."""
    yield from (
        "## What there is",
        "",
        "Each of these lists all that is installed, and `show` prints one in full:",
        "",
    )
    for context in contexts:
        yield f"    {context.command_path} [OPTIONS]"
        for name, command in getattr(context.command, "commands", {}).items():
            yield f"    {_usage(click.Context(command, info_name=name, parent=context))}"
    rows = {_row(option): None for context in contexts for option in _options(context.command)}
    yield from ("", *_table(rows))


def _usage(context: click.Context) -> str:
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def _table(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    yield from ("| option | meaning | default |", "|---|---|---|")
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def _row(option: click.Option) -> tuple[str, str, str]:
    """Return how an option is written, its meaning and its default."""
    value = option.metavar or ""
    if isinstance(option.type, click.Choice):
        value = "|".join(map(str, option.type.choices))
    names = [" ".join(filter(None, (name, value))) for name in option.opts]
    default = getattr(option, "default_shown", "")
    meaning = (option.help or "").removesuffix(f"  [{default}]")
    if option.required:
        default = "required"
    elif option.show_default:
        default = str(option.default)
    return ", ".join(f"`{name}`" for name in (*names, *option.secondary_opts)), meaning, default


def _text(text: str) -> str:
    """Return a docstring in lines of one width."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        textwrap.fill(" ".join(part.split()), WIDTH, break_long_words=False, break_on_hyphens=False)
        for part in paragraphs
    )


def main() -> None:
    """Write the page."""
    PAGE.write_text(reference(), encoding="utf-8", newline="\n")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
