"""A teacher that was given: accuracy near chance, far below the recorded one, classes in another order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.engine.teacher_check import Recorded, check_taught, sample
from condense.errors import ModelError
from condense.models.network import Network
from condense.runtime import Runtime, SilentReporter, make_runtime

CLASSES = 10


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def runtime(notes: Notes) -> Runtime:
    return make_runtime("cpu", "fp32", notes)


def dataset(each: int = 30, classes: tuple[str, ...] = tuple("abcdefghij")) -> RealDataset:
    """Images of 2x2 pixels whose brightness is their label."""
    labels = torch.arange(len(classes)).repeat_interleave(each)
    pixels = labels.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    split = Split(MemoryImages(pixels), labels)
    return RealDataset(
        name="toy", classes=classes, train=split, test=split, size=2, mean=(0.0,), std=(1 / 255,)
    )


class Knows(nn.Module):
    """Reads the label from an image and gives the output for it; `right` of 10 images are answered so, others by 0."""

    def __init__(self, outputs: list[int], right: int = 10) -> None:
        super().__init__()
        self.outputs, self.right, self.seen = torch.tensor(outputs), right, 0

    def forward(self, images: Tensor) -> Tensor:
        answers = self.outputs[images[:, 0, 0, 0].round().long()]
        turn = (self.seen + torch.arange(len(images))) % 10
        self.seen += len(images)
        answers = torch.where(turn < self.right, answers, 0)
        return torch.nn.functional.one_hot(answers, len(self.outputs)).float()


def teacher(outputs: list[int] | None = None, right: int = 10) -> Network:
    return Network(Knows(outputs or list(range(CLASSES)), right), "knows")


def test_a_teacher_that_knows_the_dataset_passes_in_silence(runtime: Runtime, notes: Notes) -> None:
    check_taught(teacher(), dataset(), runtime, origin="a.pt")
    known = Recorded(accuracy=0.95, classes=dataset().classes, mean=(0.0,), std=(1 / 255,))
    check_taught(teacher(right=9), dataset(), runtime, origin="a.pt", recorded=known)
    assert notes.notes == []


def test_near_chance(runtime: Runtime) -> None:
    message = (
        r"the teacher from a.pt is right on 10.0% of 300 test images, and 10.0% is chance. Likely causes: another "
        r"dataset, classes in another order, a classifier that was not trained.*teacher.model.pretrained=true"
    )
    with pytest.raises(ModelError, match=message):
        check_taught(teacher(right=0), dataset(), runtime, origin="a.pt")


def test_a_few_images_give_a_note_alone(runtime: Runtime, notes: Notes) -> None:
    check_taught(teacher(right=0), dataset(each=2), runtime, origin="a.pt")
    assert len(notes.notes) == 1
    assert notes.notes[0].startswith("DOUBTFUL: the teacher from a.pt is right on 10.0% of 20 test images")


def test_a_weak_teacher_is_its_owners_choice(runtime: Runtime, notes: Notes) -> None:
    check_taught(teacher(right=3), dataset(), runtime, origin="a.pt")
    known = Recorded(accuracy=0.1)
    check_taught(teacher(right=0), dataset(), runtime, origin="a.pt", recorded=known)
    assert notes.notes == []


def test_far_below_the_recorded_accuracy(runtime: Runtime, notes: Notes) -> None:
    known = Recorded(accuracy=0.95, mean=(0.4,), std=(0.2,))
    message = r"is right on 37.\d% of 300 test images, and it reached 95.0% when it was made. Likely causes: other im"
    with pytest.raises(ModelError, match=message):
        check_taught(teacher(right=3), dataset(), runtime, origin="a.pt", recorded=known)
    check_taught(teacher(right=8), dataset(), runtime, origin="a.pt", recorded=known)
    assert len(notes.notes) == 1
    assert notes.notes[0].startswith("DOUBTFUL: ")


def test_another_order_is_named_with_its_remedy(runtime: Runtime) -> None:
    names = tuple(sorted(str(number) for number in range(12)))
    by_number = sorted(range(12), key=lambda label: int(names[label]))
    outputs = torch.argsort(torch.tensor(by_number)).tolist()
    with pytest.raises(ModelError) as caught:
        check_taught(teacher(outputs), dataset(classes=names), runtime, origin="a.pt")
    text = str(caught.value)
    assert "and on 100.0% if its outputs have another order, that of the names sorted by number" in text
    assert "output 2 means '2' and not '10'" in text
    rows = [int(number) for number in text.partition("rows [")[2].partition("]")[0].split(", ")]
    assert torch.tensor(outputs)[torch.arange(12)].tolist() == rows
    check_taught(
        teacher([rows.index(output) for output in outputs]), dataset(classes=names), runtime, origin="a.pt"
    )


def test_recorded_classes_are_compared(runtime: Runtime, notes: Notes) -> None:
    real = dataset()
    turned = Recorded(accuracy=1.0, classes=(*real.classes[1:], real.classes[0]))
    with pytest.raises(ModelError, match="in another order: its output 0 is 'b', and class 0 of toy"):
        check_taught(teacher(), real, runtime, origin="a.pt", recorded=turned)
    others = Recorded(accuracy=1.0, classes=("z", *real.classes[1:]))
    check_taught(teacher(), real, runtime, origin="a.pt", recorded=others)
    assert notes.notes == [
        "DOUBTFUL: the teacher from a.pt learned classes of other names: its output 0 is 'z', and class 0 of toy is 'a'"
    ]


def test_the_sample_has_as_many_images_of_each_class_as_there_are(
    make_dataset: Callable[..., RealDataset],
) -> None:
    real = make_dataset(counts=[3, 400, 600])
    chosen = sample(real.train, 3)
    assert torch.bincount(real.train.labels[chosen]).tolist() == [3, 333, 333]
    assert len(set(chosen.tolist())) == len(chosen)
    many = torch.arange(1000).repeat(6)
    assert (
        torch.bincount(many[sample(Split(MemoryImages(torch.zeros(6000, 1, 1, 1)), many), 1000)]).unique()
        == 4
    )


@pytest.mark.parametrize(
    ("network", "known", "said"),
    [
        (teacher(right=0), None, "10.0% is chance"),
        (teacher(right=3), Recorded(accuracy=0.95), "it reached 95.0% when it was made"),
        (teacher([1, 2, 3, 4, 5, 6, 7, 8, 9, 0]), None, "if its outputs have another order"),
        (teacher(), Recorded(classes=tuple("bacdefghij")), "learned the classes in another order"),
    ],
)
def test_one_can_go_on_with_a_note(
    network: Network, known: Recorded | None, said: str, runtime: Runtime, notes: Notes
) -> None:
    """What stops a run names the setting that does not."""
    with pytest.raises(ModelError) as caught:
        check_taught(network, dataset(), runtime, origin="a.pt", recorded=known)
    remedy = ". To go on with this teacher all the same: --set teacher.check=note"
    assert said in str(caught.value) and str(caught.value).endswith(remedy)
    check_taught(network, dataset(), runtime, origin="a.pt", recorded=known, action="note")
    assert notes.notes == ["DOUBTFUL: " + str(caught.value).removesuffix(remedy)]
