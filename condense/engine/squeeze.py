"""Squeeze: train or load the teacher of a dataset and measure its accuracy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import Batch, feed_of
from condense.engine.epochs import teacher_epochs
from condense.engine.peers import Alone, Peers, SharedFeed, SharedNetwork
from condense.engine.teacher_check import Recorded, check_taught
from condense.engine.training import accuracy, hard_loss, train
from condense.engine.unfinished import KeptTraining, Unfinished
from condense.models.build import build_network
from condense.models.checkpoints import load_checkpoint
from condense.models.network import Network
from condense.recipe.config import Recipe
from condense.recipe.registry import Registry
from condense.rng import generator, isolated_global_rng
from condense.runtime import Runtime


def fresh_teacher(
    recipe: Recipe,
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
    *,
    to_be_filled: bool = False,
) -> Network:
    """Return the teacher's network before training.

    to_be_filled: whether a checkpoint will replace its weights; pretrained weights are then not fetched.
    """
    draws = generator(recipe.teacher_seed, "squeeze", "weights")
    use = recipe.teacher.model
    if (to_be_filled or recipe.teacher.checkpoint) and use.options.get("pretrained"):
        use = replace(use, options={**use.options, "pretrained": False})
    return build_network(use, dataset, registry, runtime, draws)


def squeeze(
    teacher: Network,
    recipe: Recipe,
    dataset: RealDataset,
    runtime: Runtime,
    recorded: Recorded | None = None,
    unfinished: Unfinished | None = None,
) -> float:
    """Train the teacher in place, or load its checkpoint; return its accuracy on the test images, in [0, 1].

    The members of an ensemble are trained one after the other, each with draws that do not depend on the
    others. A teacher that is not trained here is checked first.

    recorded: what is known of the checkpoint.
    unfinished: keeps the training, which goes on where it was kept.

    Raises ModelError if the checkpoint does not fit or does not know the dataset, and NumericalError if the training
    diverges.
    """
    options = recipe.teacher
    if options.checkpoint:
        runtime.reporter.start("squeeze", f"loading {options.checkpoint}", 1, "file")
        load_checkpoint(teacher, Path(options.checkpoint))
        check_taught(
            teacher, dataset, runtime, origin=options.checkpoint, recorded=recorded, action=options.check
        )
        runtime.reporter.advance(1)
    elif options.epochs == 0 and options.model.options.get("pretrained"):
        runtime.reporter.start("squeeze", f"taking {teacher.name} as it was pretrained", 1, "network")
        origin = f"the pretrained weights of {teacher.name}"
        check_taught(teacher, dataset, runtime, origin=origin, action=options.check)
        runtime.reporter.advance(1)
    else:
        train_teacher(teacher, recipe, dataset, runtime, unfinished)
    return tested(teacher, dataset, runtime)


def tested(teacher: Network, dataset: RealDataset, runtime: Runtime) -> float:
    """Return the accuracy of the teacher on the test images, in [0, 1], and freeze it. The stage ends with this."""
    reached = accuracy(teacher.frozen(), dataset.test, dataset, runtime)
    runtime.reporter.finish(f"teacher {reached:.1%} on the test images")
    return reached


def train_teacher(
    teacher: Network,
    recipe: Recipe,
    dataset: RealDataset,
    runtime: Runtime,
    unfinished: Unfinished | None = None,
    peers: Peers | None = None,
) -> None:
    """Train the teacher in place, as `squeeze` does.

    peers: processes that do the same at the same time; None: this process is alone. With peers, `unfinished` is theirs.
    """
    options, members = recipe.teacher, teacher.members
    listed = f" ({', '.join(member.name for member in members)})" if len(members) > 1 else ""
    epochs = teacher_epochs(options, len(dataset.train)) * len(members)
    runtime.reporter.start("squeeze", f"training {teacher.name}{listed}", epochs, "epoch")
    for member in members:
        what = f"member {member.member} of the teacher ({member.name})" if listed else "the teacher"
        kept = unfinished.training(teacher.model, member.member) if unfinished else None
        _train(member, what, recipe, dataset, runtime, kept, peers or Alone())


def _train(
    member: Network,
    what: str,
    recipe: Recipe,
    dataset: RealDataset,
    runtime: Runtime,
    kept: KeptTraining | None,
    peers: Peers,
) -> None:
    """Train one network of the teacher in place. The first member has the same draws as a single-network teacher."""
    piece = ("training", member.member) if member.member else ("training",)
    draws, options = generator(recipe.teacher_seed, "squeeze", *piece), recipe.teacher
    with isolated_global_rng(draws):
        train(
            SharedNetwork(member, peers),
            SharedFeed(feed_of(dataset.train, dataset, runtime), peers.share),
            _loss_of_share,
            replace(options, epochs=teacher_epochs(options, len(dataset.train))),
            generator=draws,
            runtime=runtime,
            what=what,
            kept=kept,
            mean=peers.mean,
        )


def _loss_of_share(batch: Batch, logits: Tensor) -> Tensor:
    """Return the loss of a share of a batch, so that the mean over the shares is the mean loss of the batch."""
    return hard_loss()(batch, logits) * batch.weight
