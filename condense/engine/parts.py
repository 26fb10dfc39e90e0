"""The networks of a run, known from its plan alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condense.engine.plan import Plan
from condense.recipe.method import Use

Role = Literal["teacher", "student", "student that judges", "random network", "pool's network"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A network of a job.

    role: what it is there for.
    use: its name and options.
    features: whether something reads its features; otherwise only its logits are.
    """

    role: Role
    use: Use
    features: bool = False


def parts_of(plan: Plan) -> list[Part]:
    """Return the networks of a run."""
    recipe, evaluation = plan.recipe, plan.evaluation
    through = {loss.needs.network for loss in plan.losses}
    parts = []
    if plan.needs_teacher:
        looks = "teacher" in through or any(spec.needs_teacher for spec in plan.initializers)
        parts.append(Part(role="teacher", use=recipe.teacher.model, features=looks))
    if "random" in through:
        parts.append(Part(role="random network", use=recipe.random_network, features=True))
    if plan.needs_pool:
        parts.append(Part(role="pool's network", use=recipe.pool_network, features=True))
    if plan.selects and recipe.judge_network:
        parts.append(Part(role="student that judges", use=recipe.judge_network))
    if evaluation.students:
        parts.append(Part(role="student", use=evaluation.student_network(recipe.teacher)))
    return parts
