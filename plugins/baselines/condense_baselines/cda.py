"""CDA as a recipe: SRe2L with crops that go from easy to hard. Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from condense_baselines.sre2l import SRE2L

CDA = replace(
    SRE2L,
    name="cda",
    summary="SRe2L with a curriculum: whole images first, smaller crops later",
    source="Yin & Shen, Dataset Distillation via Curriculum Data Synthesis, TMLR 2024, arXiv 2311.18838",
    # The published commands: --easy2hard-mode cosine --milestone 1, so the least crop shrinks over all steps.
    recover=replace(SRE2L.recover, crop_schedule="cosine", crop_start=1.0, crop_share=1.0),
    presets={
        **SRE2L.presets,
        # Here its published settings are not SRe2L's.
        "tiny-imagenet": {
            **SRE2L.presets["tiny-imagenet"],
            "recover.lr": 0.4,
            "regularizers.batchnorm": 0.05,
        },
    },
)
