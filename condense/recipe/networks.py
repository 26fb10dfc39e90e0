"""How people write networks: "resnet18", "convnet(width=64,norm=instance)", and lists of them with commas between.

This module knows texts alone. `condense.recipe.settings` looks names and options up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from condense.errors import OptionError
from condense.text import setting_text


def split_networks(texts: str | Sequence[str]) -> tuple[str, ...]:
    """Return the networks of one text or of several, each as a text of its own.

    Commas between networks separate them; commas inside parentheses do not. Raises OptionError for an empty place in
    a list, or for parentheses that do not match.
    """
    found: list[str] = []
    for text in [texts] if isinstance(texts, str) else texts:
        parts = _split(text)
        if not all(parts):
            raise OptionError(
                f"{text!r} has an empty place; write networks with commas between them: resnet18,convnet"
            )
        found += parts
    return tuple(found)


def parse_network(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the name of a network, and its options as pairs of texts: "convnet(width=64)" gives ("convnet", ...).

    A part between commas without an equals sign belongs to the value before it, so that values may be lists:
    "ensemble(members=convnet,resnet18,pretrained=true)".
    Raises OptionError for what does not have this form.
    """
    name, opened, rest = text.strip().partition("(")
    if not opened and ")" not in name:
        return name.strip(), []
    inside = rest.rstrip()
    if not name.strip() or not inside.endswith(")"):
        raise _malformed(text)
    options: list[tuple[str, str]] = []
    for part in _split(inside[:-1]):
        key, equals, value = part.partition("=")
        if equals and key.strip():
            options.append((key.strip(), value.strip()))
        elif options and part and not equals:
            options[-1] = (options[-1][0], f"{options[-1][1]},{part}")
        else:
            raise _malformed(text)
    return name.strip(), options


def format_network(name: str, options: Mapping[str, Any]) -> str:
    """Return the text that `parse_network` reads: "convnet(norm=instance)", or the name alone without options."""
    if not options:
        return name
    return f"{name}({','.join(f'{key}={setting_text(value)}' for key, value in options.items())})"


def with_network(
    settings: Sequence[tuple[str, Any]], networks: Sequence[str], *, key: str, option: str
) -> list[tuple[str, Any]]:
    """Return settings with the first of `networks` put before them under `key`, such as "student.model".

    option: the option that named the networks, for messages. Raises OptionError for a setting that says the same, and
    for an option of one network where there are several networks.
    """
    if not networks:
        return list(settings)
    keys = [name for name, _ in settings]
    if key in keys:
        raise OptionError(f"{option} and --set {key} say the same thing; give one of them")
    below = next((name.removeprefix(f"{key}.") for name in keys if name.startswith(f"{key}.")), "")
    if below and len(networks) > 1:
        raise OptionError(
            f"--set {key}.{below} is an option of one network, and {option} names {len(networks)}; write it with its "
            f"network: {option} '{networks[0].partition('(')[0]}({below}=...)'"
        )
    return [(key, networks[0]), *settings]


def _split(text: str) -> list[str]:
    """Return the parts between commas that stand outside parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth < 0:
            break
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise _malformed(text)
    return [part.strip() for part in parts]


def _malformed(text: str) -> OptionError:
    return OptionError(
        f"{text!r} is not a network; write NAME, or NAME(OPTION=VALUE,OPTION=VALUE) such as "
        "'convnet(width=64,norm=instance)'"
    )
