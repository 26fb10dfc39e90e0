"""Rows and settings: by hand, and every way to get them wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from condense.comparison.given import sort_settings
from condense.comparison.outcome import Kind
from condense.comparison.rows import Rows, ablate_rows, compare_rows, reported_under, rows_of, sweep_rows
from condense.data.dataset import RealDataset
from condense.errors import CondenseError, OptionError, PluginError, UnknownNameError
from condense.recipe.method import Method, Recover, Weighted
from condense.recipe.registry import Offer, Registry
from condense.recipe.variant import Variant

NARROW = Method(
    name="narrow",
    summary="one target and one regularizer, no variants",
    targets={"barycenter": Weighted()},
    regularizers={"class-batchnorm": Weighted()},
    recover=Recover(iterations=1),
)
VARIED = Method(
    name="varied",
    summary="two variants",
    targets={"barycenter": Weighted(), "cross-entropy": Weighted()},
    recover=Recover(iterations=1),
    variants=(
        Variant(label="all of it"),
        Variant(label="less", without=("cross-entropy",), settings={"lr": 0.5}),
    ),
)
PARTS_ONLY = replace(VARIED, name="parts-only", variants=VARIED.variants[1:])
GREEDY = Method(
    name="greedy",
    summary="a variant with a teacher of its own",
    targets={"barycenter": Weighted()},
    variants=(Variant(label="all"), Variant(label="taught", settings={"teacher.epochs": 9})),
)


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset(), methods=[NARROW, VARIED, PARTS_ONLY, GREEDY])


def labels(rows: Rows) -> list[str]:
    return [row.label for row in rows.asked]


def test_the_reference_is_added_behind_the_methods_named(registry: Registry) -> None:
    rows = compare_rows(["narrow", "wmdd"], (), reference=True, registry=registry)
    assert (labels(rows), rows.reference) == (["narrow", "wmdd", "random"], "random")
    rows = compare_rows(["random", "wmdd"], (), reference=True, registry=registry)
    assert (labels(rows), rows.reference) == (["random", "wmdd"], "random")
    rows = compare_rows(["wmdd"], (), reference=False, registry=registry)
    assert (labels(rows), rows.reference) == (["wmdd"], "")


def test_without_its_plugin_there_is_no_reference_and_a_note() -> None:
    empty = Registry({"method": {"narrow": Offer("test", NARROW)}}, (), {})
    rows = compare_rows(["narrow"], (), reference=True, registry=empty)
    assert (labels(rows), rows.reference) == (["narrow"], "")
    assert "no plugin offers the method 'random'" in rows.notes[0]


def test_settings_go_to_all_rows_to_one_or_to_what_is_shared(registry: Registry) -> None:
    settings = [
        ("iterations", "7"),
        ("wmdd:lr", "0.5"),
        ("teacher.epochs", "2"),
        ("random:initializer", "noise"),
    ]
    rows = compare_rows(["wmdd", "narrow"], settings, reference=True, registry=registry)
    found = {row.label: row.settings for row in rows.asked}
    assert found == {
        "wmdd": (("iterations", "7"), ("lr", "0.5")),
        "narrow": (("iterations", "7"),),
        "random": (("initializer", "noise"),),
    }
    assert rows.shared == (("teacher.epochs", "2"),)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"wmd:lr": 1}, "no row is of a method 'wmd'. Did you mean 'wmdd'?"),
        ({"wmdd:teacher.epochs": 1}, "cannot differ between rows (one teacher for every row)"),
        ({"wmdd:protocol.lr": 1}, "protocols are columns"),
        ({"seed": 1}, "use --seed and --seeds"),
        ({"dataset": "x"}, "use --dataset"),
        ({"wmdd:ipc": 1}, "use --ipc"),
        ({"students": 1}, "use --students"),
        ({"device": "cpu"}, "use --device"),
        ({"precision": "bf16"}, "use --precision"),
        ({"data_dir": "x"}, "use --data-dir"),
        ({"validation": 0.5}, "use --validation"),
        ({"random:reference": False}, "see --no-reference"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError) as caught:
        sort_settings(settings, ("wmdd", "random"))
    assert says in str(caught.value)


def test_names_are_checked_before_any_work(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'wmdd'"):
        compare_rows(["wmd"], (), reference=True, registry=registry)
    with pytest.raises(OptionError, match="the row 'wmdd' stands twice"):
        compare_rows(["wmdd", "narrow", "wmdd"], (), reference=True, registry=registry)
    with pytest.raises(OptionError, match="no methods"):
        compare_rows([], (), reference=True, registry=registry)
    with pytest.raises(OptionError, match=r"'lr' changes nothing: .* write --set random:lr="):
        compare_rows(["random"], {"lr": 1}, reference=True, registry=registry)


@pytest.mark.parametrize("key", ["iterations", "recover.iterations"])
def test_iterations_for_all_rows_leave_coresets_as_they_are(key: str, registry: Registry) -> None:
    methods = ["wmdd", "medoids", "rded"]
    rows = compare_rows(methods, {key: 200, "lr": 1.0}, reference=True, registry=registry)
    lr = ("lr", 1.0)
    assert [row.settings for row in rows.asked] == [((key, 200), lr), (lr,), (lr,), ()]
    assert rows.notes == (
        f"{key}=200 leaves out medoids, rded, which recover nothing; --set medoids:{key}=200 recovers from its images "
        "too",
    )
    named = compare_rows(methods, {key: 200, f"medoids:{key}": 9}, reference=True, registry=registry)
    assert named.asked[1].settings[-1] == (key, 9)
    assert "leaves out rded, which" in named.notes[0]
    none = compare_rows(["wmdd", "medoids"], {key: 0}, reference=True, registry=registry)
    assert (none.asked[1].settings, none.notes) == (((key, 0),), ())
    with pytest.raises(OptionError, match=rf"'{key}' changes nothing: .* write --set medoids:{key}="):
        compare_rows(["medoids"], {key: 200}, reference=True, registry=registry)


def test_a_method_that_recovers_some_images_takes_iterations(make_registry: Callable[..., Registry]) -> None:
    some = replace(
        NARROW, name="some", recover=Recover(iterations=0), presets={"photographs": {"iterations": 9}}
    )
    registry = make_registry(methods=[some])
    rows = compare_rows(["some"], {"iterations": 200}, reference=False, registry=registry)
    assert (rows.asked[0].settings, rows.notes) == ((("iterations", 200),), ())


def test_the_reference_takes_how_images_are_stored_and_nothing_else(registry: Registry) -> None:
    packed = [("parametrization", "mosaic"), ("parametrization.factor", 3)]
    rows = compare_rows(["wmdd"], [*packed, ("lr", 1)], reference=True, registry=registry)
    assert [row.settings for row in rows.asked] == [(*packed, ("lr", 1)), tuple(packed)]
    alone = compare_rows(["random"], packed, reference=True, registry=registry)
    assert alone.asked[0].settings == tuple(packed)
    with pytest.raises(OptionError, match="'lr' changes nothing"):
        compare_rows(["random"], [*packed, ("lr", 1)], reference=True, registry=registry)
    own = compare_rows(
        ["random"], [*packed, ("random:parametrization", "identity")], reference=True, registry=registry
    )
    assert own.asked[0].settings[-1] == ("parametrization", "identity")
    for kept in (
        ablate_rows("narrow", "tiny", packed, reference=True, registry=registry),
        sweep_rows("narrow", "tiny", [*packed, ("lr", "0.1,0.2")], reference=True, registry=registry),
    ):
        assert kept.asked[-1].settings == tuple(packed)


def test_an_option_of_a_mosaic_that_only_a_method_has_is_not_the_reference_s(registry: Registry) -> None:
    rows = compare_rows(["wmdd"], {"parametrization.factor": 3}, reference=True, registry=registry)
    assert [row.settings for row in rows.asked] == [(("parametrization.factor", 3),), ()]


@pytest.mark.parametrize(
    ("methods", "leading"),
    [
        (["random", "narrow", "varied"], "narrow"),
        (["medoids", "varied", "random"], "varied"),
        (["random", "rded"], "rded"),
        (["medoids", "random"], "medoids"),
        (["random"], "random"),
    ],
)
def test_chosen_real_images_do_not_decide_on_the_protocol(
    methods: list[str], leading: str, registry: Registry
) -> None:
    rows = compare_rows(methods, (), reference=True, registry=registry)
    assert reported_under(rows.asked, registry).name == leading


def test_a_method_of_two_plugins_is_refused() -> None:
    contested = Registry({"method": {}}, (), {("method", "narrow"): ("one", "other")})
    with pytest.raises(PluginError, match="plugins 'one' and 'other' both offer a method named 'narrow'"):
        compare_rows(["narrow"], (), reference=True, registry=contested)


@pytest.mark.parametrize("kind", ["sweep", "ablate"])
@pytest.mark.parametrize("methods", [["wmdd", "narrow"], []])
def test_sweeps_and_ablations_are_of_one_method(registry: Registry, kind: Kind, methods: list[str]) -> None:
    with pytest.raises(OptionError, match=f"{kind} takes one method, not {len(methods)}"):
        rows_of(kind, methods, {"lr": "1,2"}, dataset="tiny", reference=True, registry=registry)


def sweep(registry: Registry, *settings: tuple[str, object], method: str = "narrow") -> Rows:
    return sweep_rows(method, "tiny", settings, reference=True, registry=registry)


def test_a_sweep_is_the_product_of_its_values_the_first_varying_slowest(registry: Registry) -> None:
    rows = sweep(
        registry,
        ("regularizers.class-batchnorm", "0.1,1"),
        ("iterations", "3"),
        ("lr", "0.5,0.25,1"),
        ("random:initializer", "noise"),
    )
    assert labels(rows) == [
        *(
            f"narrow class-batchnorm={weight} lr={lr}"
            for weight in ("0.1", "1")
            for lr in ("0.5", "0.25", "1")
        ),
        "random",
    ]
    assert rows.asked[1].settings == (
        ("regularizers.class-batchnorm", "0.1"),
        ("iterations", "3"),
        ("lr", "0.25"),
    )
    assert rows.asked[-1].settings == (("initializer", "noise"),)


def test_values_with_commas_are_separated_by_semicolons(registry: Registry) -> None:
    rows = sweep(
        registry, ("recover.augment.crop_scale", "0.5,1;0.25,1"), ("recover.augment.flip", "true,false")
    )
    assert labels(rows)[:2] == [
        "narrow crop_scale=0.5,1 flip=true",
        "narrow crop_scale=0.5,1 flip=false",
    ]
    rows = sweep(registry, ("recover.augment.crop_scale", "0.5,1"), ("lr", "1,2"))
    assert labels(rows)[:2] == ["narrow lr=1", "narrow lr=2"]
    assert rows.asked[0].settings[0] == ("recover.augment.crop_scale", "0.5,1")


def test_python_lists_values_too(registry: Registry) -> None:
    crops = [(0.5, 1.0), (0.25, 1.0)]
    rows = sweep(
        registry, ("recover.augment.crop_scale", crops), ("lr", [1, 0.5]), ("recover.betas", (0.5, 0.9))
    )
    assert labels(rows)[1] == "narrow crop_scale=0.5,1 lr=0.5"
    assert rows.asked[0].settings[-1] == ("recover.betas", (0.5, 0.9))


def test_a_setting_of_a_swept_component_is_kept(registry: Registry) -> None:
    rows = sweep(registry, ("initializer", "noise"), ("initializer.std", "0.5"), ("lr", "1,2"))
    assert rows.asked[0].settings == (("initializer", "noise"), ("initializer.std", "0.5"), ("lr", "1"))
    rows = sweep(registry, ("recover.network", "convnet,timm:resnet10t"), ("recover.network.width", 16))
    assert rows.asked[0].settings == (("recover.network", "convnet"), ("recover.network.width", 16))
    rows = sweep(registry, ("narrow:recover.network", "convnet"), ("recover.network.width", "8,16"))
    assert rows.asked[1].settings == (("recover.network", "convnet"), ("recover.network.width", "16"))


def test_presets_can_be_swept_over_and_kept(registry: Registry) -> None:
    rows = sweep(registry, ("preset", "paper,small-grey"), method="wmdd")
    assert labels(rows)[:2] == ["wmdd preset=paper", "wmdd preset=small-grey"]
    assert rows.asked[1].settings == (("preset", "small-grey"),)
    rows = sweep(registry, ("wmdd:preset", "paper"), ("lr", "1,2"), method="wmdd")
    assert rows.asked[1].settings == (("preset", "paper"), ("lr", "2"))
    assert labels(sweep(registry, ("preset", ["paper", "small-grey"]), method="wmdd"))[:1] == [
        "wmdd preset=paper"
    ]


def test_keys_of_one_last_word_are_told_apart(registry: Registry) -> None:
    rows = sweep(registry, ("recover.lr", "1,2"), ("recover.inner.lr", "3,4"))
    assert labels(rows)[0] == "narrow recover.lr=1 inner.lr=3"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ([], "nothing to sweep over"),
        ([("lr", "0.5")], "nothing to sweep over"),
        ([("lr", ",")], "no value is listed"),
        ([("preset", ",")], "no value is listed"),
        ([("protocol", "dc,fkd")], "use --protocol"),
        ([("lr", "1,2"), ("lr", "3,4")], "given twice"),
        ([("lr", "1,1")], "stands twice"),
        ([("lr", "1,-1")], "lr must be above 0"),
        ([("teacher.epochs", "1,2")], "one teacher for every row"),
        ([("ipc", "1,2")], "use --ipc"),
        ([("rl", "1,2")], "unknown option 'rl'"),
        ([("wmdd:lr", "1,2")], "no row is of a method 'wmdd'"),
    ],
)
def test_sweeps_that_cannot_be_are_refused(
    registry: Registry, settings: list[tuple[str, object]], says: str
) -> None:
    with pytest.raises(CondenseError) as caught:
        sweep(registry, *settings)
    assert says in str(caught.value)


def ablate(registry: Registry, method: str, **settings: object) -> Rows:
    return ablate_rows(method, "tiny", settings, reference=True, registry=registry)


def test_an_ablation_has_the_variants_of_the_method(registry: Registry) -> None:
    rows = ablate(registry, "varied", iterations=3)
    assert labels(rows) == ["all of it", "less", "random"]
    assert rows.asked[1].without == ("cross-entropy",)
    assert rows.asked[1].settings == (("iterations", 3), ("lr", 0.5))


def test_the_first_row_of_an_ablation_is_the_whole_method(registry: Registry) -> None:
    """The other rows are compared to the first one, so it is there also if no variant stands for it."""
    rows = ablate(registry, "parts-only", iterations=3)
    assert labels(rows) == ["parts-only", "less", "random"]
    assert (rows.asked[0].settings, rows.asked[0].without) == ((("iterations", 3),), ())


def test_without_variants_each_component_is_left_out_in_turn(registry: Registry) -> None:
    rows = ablate(registry, "narrow")
    assert labels(rows) == ["narrow", "narrow without class-batchnorm", "random"]
    assert "no row without barycenter" in rows.notes[0]


def test_nothing_to_ablate_is_an_error(registry: Registry) -> None:
    with pytest.raises(OptionError, match="nothing that can be left out"):
        ablate(registry, "random")
    with pytest.raises(OptionError, match="variant 'taught' of 'greedy'"):
        ablate(registry, "greedy")
