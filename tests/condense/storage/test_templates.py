"""Templates: which ones escape what is filled in, and what a missing name does."""

from __future__ import annotations

import jinja2
import pytest

from condense.storage.templates import template

PAGE, CARD = "runs/report.html.j2", "storage/card.md.j2"
PAGE_FILTERS = dict.fromkeys(("percent", "duration", "size", "setting"), str)
CARD_FILTERS = dict.fromkeys(("quoted", "line"), str)


def test_a_page_escapes_what_is_filled_in_and_a_card_does_not() -> None:
    for path, filters, filled in ((PAGE, PAGE_FILTERS, "&lt;b&gt;\n"), (CARD, CARD_FILTERS, "<b>\n")):
        environment = template(path, **filters).environment
        assert environment.from_string("{{ text }}\n").render(text="<b>") == filled


@pytest.mark.parametrize(("path", "filters"), [(PAGE, PAGE_FILTERS), (CARD, CARD_FILTERS)])
def test_a_missing_name_is_an_error(path: str, filters: dict[str, type[str]]) -> None:
    with pytest.raises(jinja2.UndefinedError, match="is undefined"):
        template(path, **filters).render()


def test_a_template_is_compiled_once() -> None:
    assert template(PAGE, **PAGE_FILTERS) is template(PAGE, **PAGE_FILTERS)
