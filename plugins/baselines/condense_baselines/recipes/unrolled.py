"""Unrolled training as a recipe: images from which students in training learn to know real images.

A form of RaT-BPTT (Feng et al., ICLR 2024, arXiv 2311.07025) for students that learn from a teacher. It differs from
the paper: students are trained as the protocol `fkd` has it, with the teacher's answers to every view. A window has 8
steps. Several students of different ages take turns, and each goes on where its last window ended; the paper trains a
new student up to a random place for each window, of 60 steps. Students answer real images in eval mode.
"""

from __future__ import annotations

from condense import Augment, Method, Recover, Selection, Training, Use, Variant, Weighted

UNROLLED = Method(
    name="unrolled",
    summary="images that make students, whose training is differentiated through, know real images",
    source="after Wang et al., arXiv 1811.10959, and Feng et al., ICLR 2024, arXiv 2311.07025",
    initializer=Use(name="real"),
    targets={"student-entropy": Weighted(options={"real_batch": 16})},
    recover=Recover(
        iterations=150,
        batch=0,  # all classes, for a student learns them all
        optimizer="adam",
        lr=0.03,
        betas=(0.9, 0.99),
        schedule="cosine",
        network=Use(name="teacher"),
        networks=5,
        network_steps=50,
        # As the protocol trains students.
        inner=Training(
            epochs=8,
            batch_size=50,
            optimizer="adamw",
            lr=0.001,
            weight_decay=0.01,
            schedule="cosine",
            augment=Augment(crop_scale=(0.08, 1.0), flip=True, cutmix=1.0),
        ),
        inner_steps=8,
        inner_labels="online",
    ),
    # Real images of two kinds may be the start, and are kept where recovery does not make them better.
    select=Selection(students=3, epochs=200, snapshots=2, starts=("real", "k-means")),
    protocol="fkd",
    for_ipc={5: {"select.students": 2, "select.epochs": 100}},
    variants=(
        Variant(label="the whole method"),
        Variant(label="no judges", settings={"select.students": 0}),
        Variant(label="students of one age", settings={"recover.networks": 1}),
        Variant(label="one step of a student", settings={"recover.inner_steps": 1}),
    ),
)
