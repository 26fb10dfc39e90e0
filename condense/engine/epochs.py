"""How many steps an epoch has, and how many epochs a maximum of steps leaves."""

from __future__ import annotations

from condense.recipe.method import Recover, Teacher
from condense.recipe.protocol import Protocol
from condense.recipe.selection import Selection


def training_steps(images: int, batch_size: int) -> int:
    """Return the steps of an epoch; a last batch of one image joins the one before it."""
    whole, rest = divmod(images, batch_size)
    return whole + (rest > 1 or (rest == 1 and not whole))


def judge_epochs(select: Selection, judge: Protocol, images: int) -> int:
    """Return the epochs of a student that judges and that learns from this many images."""
    return epochs_within(select.epochs, select.steps, training_steps(images, judge.batch_size))


def teacher_epochs(teacher: Teacher, images: int) -> int:
    """Return the epochs of a teacher's training on this many images."""
    return epochs_within(teacher.epochs, teacher.steps, training_steps(images, teacher.batch_size))


def epochs_within(epochs: int, steps: int, per_epoch: int) -> int:
    """Return how many of `epochs`, of `per_epoch` steps each, fit in `steps`: at least one; all if `steps` is 0."""
    return min(epochs, max(1, steps // per_epoch)) if steps else epochs


def unrolled_steps(options: Recover, images: int) -> int:
    """Return how many steps of a student are differentiated through at once. images: of the chunk, decoded."""
    steps = options.inner.epochs * -(-images // options.inner.batch_size)
    return min(steps, options.inner_steps or steps)
