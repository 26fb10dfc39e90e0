"""The page in a real browser: everything on it is laid out and drawn, at the width of a desk and of a phone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condense.comparison.outcome import Outcome
from condense.comparison.report.palette import COLOURS
from condense.comparison.report.write import write_all
from condense.comparison.summary import summarise

MakeOutcome = Callable[..., Outcome]
WIDTHS = (1200, 360)
MANY = [f"wmdd class-batchnorm=0.1 recover.iterations={100 * number}" for number in range(1, 19)]

# A document around the page, for the page itself has no scripts: it looks at the page at both widths, and writes
# down what it sees.
HARNESS = """<!doctype html><meta charset="utf-8"><body>
%s
<pre id="found"></pre>
<script>
function look(frame) {
  const page = frame.contentDocument, view = frame.contentWindow;
  for (const part of page.querySelectorAll("details")) part.open = true;
  const box = (part) => part.getBoundingClientRect();
  return {
    width: view.innerWidth,
    scroll: Math.max(page.body.scrollWidth, page.documentElement.scrollWidth),
    headings: [...page.querySelectorAll("h1, h2, h3")].map((part) => part.textContent),
    rows: [...page.querySelectorAll("tbody th[scope=row]")].map((part) => part.textContent.trim()),
    failed: [...page.querySelectorAll("td.reason")].map((part) => part.textContent),
    pictures: [...page.images].map((part) => [part.complete, part.naturalWidth, part.naturalHeight, box(part).width]),
    charts: [...page.querySelectorAll("svg.chart")].map((part) => [box(part).width, box(part).height]),
    texts: Math.min(...[...page.querySelectorAll("svg.chart text")].map((part) => box(part).height)),
    keys: [...page.querySelectorAll("svg.key")].map((part) => [box(part).width, part.getBBox().width]),
    outside: [...page.querySelectorAll("figure, .facts div, .scroll, p, li, summary, h2, h3")]
      .filter((part) => box(part).right > view.innerWidth + 0.5).map((part) => part.textContent.slice(0, 60)),
    line: view.getComputedStyle(page.querySelector('svg.chart [style*="var(--row-0)"]')).stroke,
    paper: view.getComputedStyle(page.body).backgroundColor,
    requests: view.performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !name.startsWith("data:")),
  };
}
addEventListener("load", () => {
  document.getElementById("found").textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
});
</script>"""


def chromium() -> str:
    """The browser's path. Without one the test is skipped, but fails on CI, where nobody would notice."""
    wanted = os.environ.get("CONDENSE_CHROMIUM", "chromium")
    found = shutil.which(wanted)
    if found is None:
        reason = f"there is no browser {wanted!r}; install chromium, or name one in CONDENSE_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def seen(browser: str, folder: Path, *, dark: bool) -> list[dict[str, Any]]:
    """What the harness found at every width."""
    frames = "".join(
        f'<iframe src="compare.html" style="width: {width}px; height: 2000px; border: 0"></iframe>'
        for width in WIDTHS
    )
    (folder / "harness.html").write_text(HARNESS % frames, encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--hide-scrollbars", "--allow-file-access-from-files", "--window-size=1400,1000"]
    command += [
        f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr",
        "--virtual-time-budget=5000",
    ]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom"]
    done = subprocess.run(
        [*command, (folder / "harness.html").as_uri()], capture_output=True, timeout=120, check=False
    )
    messages = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    assert messages == []
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout.decode(), re.DOTALL)
    assert text is not None, done.stderr.decode(errors="replace")[-2000:]
    views: list[dict[str, Any]] = json.loads(
        text[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    return views


def rgb(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgb({red}, {green}, {blue})"


@pytest.mark.slow
def test_the_page_is_whole_at_every_width_in_the_light_and_in_the_dark(
    make_outcome: MakeOutcome, tmp_path: Path
) -> None:
    browser = chromium()
    outcome = make_outcome(
        labels=("wmdd", *MANY, "mean-feature", "random"),
        failing=("mean-feature",),
        protocols=("fkd",),
        seeds=(0, 1),
    )
    summary = summarise(outcome)
    write_all(outcome, summary, tmp_path)
    for dark in (False, True):
        for width, view in zip(WIDTHS, seen(browser, tmp_path, dark=dark), strict=True):
            assert view["width"] == width
            assert view["scroll"] <= width, "the page scrolls sideways"
            assert view["outside"] == []
            for row in summary.rows:
                label = f"{row} reference" if row == outcome.reference else row
                # At a glance for each images per class, and in the table of each column.
                assert view["rows"].count(label) >= 3 + 3 * 2
            assert "fkd, 1000 epochs" in view["headings"]
            assert sum("out of memory" in text for text in view["failed"]) == 3 * 2
            assert len(view["pictures"]) == 3 * 20
            for complete, across, down, shown in view["pictures"]:
                assert complete
                assert (across, down) == (180, 120)
                assert 0 < shown < width
            assert len(view["charts"]) == 2 + 3
            assert all(
                0.6 * min(width, 400) < across < width and down > 100 for across, down in view["charts"]
            )
            assert view["texts"] > 8, "the chart's texts are too small to read"
            assert all(min(sizes) > 5 for sizes in view["keys"])
            assert view["line"] == rgb(COLOURS["row-0"][dark])
            assert view["paper"] == ("rgb(20, 23, 28)" if dark else "rgb(251, 251, 250)")
            assert view["requests"] == []
