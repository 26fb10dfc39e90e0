"""Evaluation protocols: how students are trained on a distilled dataset, as named data.

Protocols come from plugins, through the hook `condense_protocols`; condense's own are in `condense.builtin`.

Every protocol trains on the synthetic images as they are saved (8 bits), and reports the accuracy of the last
epoch on the real test images. No protocol chooses an epoch or a learning rate by the test images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from condense.recipe.fields import checked
from condense.recipe.method import AS_THE_PROTOCOL_SAYS, SAME_AS_TEACHER, Use
from condense.recipe.specs import check_name
from condense.recipe.training import Augment, Training

LabelMode = Literal["hard", "soft", "online"]


@checked
@dataclass(frozen=True, kw_only=True)
class Protocol(Training):
    """How students are trained.

    name: lower-case words joined by hyphens; what users type.
    summary: one line.
    source: the paper (authors, venue, arXiv number) or the address it comes from; may be empty.
    labels: hard (cross-entropy with the class), soft (the teacher's logits of each image, saved with it) or
        online (the teacher labels every augmented view during training, so it is needed beside the images).
    temperature: T of KL(softmax(teacher / T) || softmax(student / T)), for soft and online labels.
    weighted: whether the loss of an image is multiplied by its weight in its class (times ipc).
    model: the student's network, unless the run chooses one with student.model; "teacher": one like the
        teacher's.

    Raises ValueError for a value out of range or a name that does not exist.
    """

    name: str
    summary: str = ""
    source: str = ""
    labels: LabelMode = "hard"
    temperature: float = 1.0
    weighted: bool = False
    model: Use = field(default_factory=lambda: Use(name=SAME_AS_TEACHER))
    epochs: int = 300
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("protocol", self.name)
        if self.model.name == AS_THE_PROTOCOL_SAYS:
            raise ValueError("protocol.model is a network or 'teacher'")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
