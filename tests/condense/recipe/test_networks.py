"""Networks as people write them: lists, options in parentheses, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.errors import CondenseError, OptionError
from condense.recipe.method import Use
from condense.recipe.networks import format_network, parse_network, split_networks, with_network
from condense.recipe.registry import Registry, load_registry
from condense.recipe.settings import network_of, network_text

words = st.text("abcxyz019_:/.-", min_size=1, max_size=8)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.mark.parametrize(
    ("texts", "networks"),
    [
        ("resnet18", ("resnet18",)),
        (("a,b", "c"), ("a", "b", "c")),
        (" a , timm:vit_tiny_patch16_224 ", ("a", "timm:vit_tiny_patch16_224")),
        ("convnet(width=64,norm=none),resnet18", ("convnet(width=64,norm=none)", "resnet18")),
        ((), ()),
    ],
)
def test_commas_outside_parentheses_separate_networks(
    texts: str | tuple[str, ...], networks: tuple[str, ...]
) -> None:
    assert split_networks(texts) == networks


@pytest.mark.parametrize("text", ["", "a,,b", "a,", "a(b", "a)b(", "a)"])
def test_a_list_with_a_gap_or_an_open_parenthesis_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"empty place|is not a network"):
        split_networks(text)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("resnet18", "resnet18", []),
        ("convnet( width = 64 )", "convnet", [("width", "64")]),
        (
            "ensemble(members=convnet,resnet18,pretrained=true)",
            "ensemble",
            [("members", "convnet,resnet18"), ("pretrained", "true")],
        ),
    ],
)
def test_a_network_has_a_name_and_options(text: str, name: str, options: list[tuple[str, str]]) -> None:
    assert parse_network(text) == (name, options)


@pytest.mark.parametrize(
    "text", ["convnet()", "convnet(64)", "convnet(=3)", "(width=3)", "a(b=1)c", "a(b=1", "a)"]
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is not a network; write NAME, or NAME"):
        parse_network(text)


@given(
    words, st.dictionaries(st.text("abc_", min_size=1), st.lists(words, min_size=1, max_size=3), max_size=3)
)
def test_what_is_written_is_read_back(name: str, options: dict[str, list[str]]) -> None:
    text = format_network(name, options)
    assert parse_network(text) == (name, [(key, ",".join(values)) for key, values in options.items()])
    assert split_networks([text, f"{text},{name}"]) == (text, text, name)


def test_a_network_has_all_of_its_options_filled_in(registry: Registry) -> None:
    found = network_of("convnet(width=64)", registry)
    assert found == Use(name="convnet", options={"width": 64, "depth": 3, "norm": "batch"})
    assert network_of("convnet(width=128)", registry) == network_of("convnet", registry)
    assert network_of("ensemble(members=convnet,resnet18)", registry).options["members"] == (
        "convnet",
        "resnet18",
    )
    assert network_of("teacher", registry) == Use(name="teacher")


@pytest.mark.parametrize(
    "text", ["convnet", "convnet(norm=instance)", "timm:vit_tiny_patch16_224", "protocol"]
)
def test_a_network_is_shown_as_it_is_written(text: str, registry: Registry) -> None:
    assert network_text(network_of(text, registry), registry) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("convnett", "unknown model 'convnett'. Did you mean 'convnet'?"),
        ("convnet(widht=3)", "unknown option 'convnet.widht'. Did you mean 'width'?"),
        ("convnet(width=wide)", "convnet.width=wide"),
        ("convnet(width=0)", "width must lie between 1 and 16384, not 0"),
        ("teacher(width=3)", "the network is that of the teacher"),
        ("timm", "needs a NAME: write timm:NAME"),
    ],
)
def test_a_network_that_cannot_be_is_refused(text: str, says: str, registry: Registry) -> None:
    with pytest.raises(CondenseError) as caught:
        network_of(text, registry)
    assert says in str(caught.value)


def test_the_option_of_networks_stands_before_settings() -> None:
    def chosen(networks: list[str], *settings: tuple[str, int]) -> list[tuple[str, object]]:
        return with_network(settings, networks, key="student.model", option="--student")

    assert chosen(["a"], ("student.model.width", 3)) == [("student.model", "a"), ("student.model.width", 3)]
    assert chosen(["a", "b"]) == [("student.model", "a")]
    assert chosen([], ("student.model", 3)) == [("student.model", 3)]
    with pytest.raises(OptionError, match=r"--student and --set student\.model say the same thing"):
        chosen(["a"], ("student.model", 3))
    with pytest.raises(OptionError, match=r"write it with its network: --student 'a\(width=...\)'"):
        chosen(["a(depth=2)", "b"], ("student.model.width", 3))
