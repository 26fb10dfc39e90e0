"""What is looked at in another process: what the import of a plugin costs, and whether runs go on there.

Nothing here imports torch before a run goes on.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from condense.recipe.file_plugin import read_plugin_file
from condense.recipe.loading import LoadError, import_plugin
from condense.recipe.places import root_of
from condense.recipe.registry import Chosen, PluginStatus, load_registry

_WORDS = "from condense.testing.elsewhere import answer; answer()"


def import_cost(status: PluginStatus) -> dict[str, Any]:
    """Return the "seconds" that the import of a plugin takes, and the "heavy" packages that it imports.

    "error" is a sentence if the import fails, else "".
    """
    return _asked({"import": status.module, "file": status.file if status.of_file else ""})


def gone_on(paths: Sequence[Path], chosen: Chosen) -> dict[str, str]:
    """Let interrupted runs go on in another process. Return why each failed, or "", by its path.

    chosen: which plugins that process loads.
    """
    if not paths:
        return {}
    import torch

    # Sums over parts of a tensor depend on the number of threads.
    order = {"disabled": chosen.disabled, "files": chosen.files, "threads": torch.get_num_threads()}
    found = _asked({"resume": [str(path) for path in paths], **order})
    return {str(path): found.get(str(path), found.get("error", "")) for path in paths}


def _asked(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return what another process answers to an order. What plugins print there goes to stderr or nowhere."""
    with tempfile.TemporaryDirectory(prefix="condense-check-") as folder:
        asked, answered = Path(folder, "order.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps(order), encoding="utf-8")
        # The same modules are found as here, wherever this process found them.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", _WORDS, str(asked), str(answered)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if not answered.exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            return {"error": f"the other process ended with status {done.returncode}: {last}"}
        answer: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
        return answer


def answer() -> None:
    """Carry out the order in the file of the first argument and write the answer into that of the second."""
    asked, answered = map(Path, sys.argv[1:3])
    order = json.loads(asked.read_text(encoding="utf-8"))
    found = _imported(order["import"], order["file"]) if "import" in order else _resumed(order)
    answered.write_text(json.dumps(found), encoding="utf-8")


def _imported(module: str, file: str) -> dict[str, Any]:
    importlib.import_module("condense.builtin")
    find = (
        read_plugin_file(Path(file)).imported if file else functools.partial(importlib.import_module, module)
    )
    try:
        imported = import_plugin(find, lambda: Path(file) if file else root_of(module))
    except LoadError as error:
        return {"error": str(error), "seconds": 0.0, "heavy": []}
    return {"error": "", "seconds": imported.seconds, "heavy": imported.heavy}


def _resumed(order: Mapping[str, Any]) -> dict[str, str]:
    import torch

    from condense.recipe.resolve import config_from_dict
    from condense.runs.journal import saved_config
    from condense.runs.pipeline import run
    from condense.testing.subjects import with_offers
    from condense.testing.trial import sentence_of

    torch.set_num_threads(order["threads"])
    registry = with_offers(load_registry(order["disabled"], files=order["files"]))
    found = {}
    for path in map(Path, order["resume"]):
        try:
            run(config_from_dict(saved_config(path), registry), path, registry=registry, resume=True)
        except (Exception, SystemExit) as error:  # What comes of a plugin's code may be anything.
            found[str(path)] = sentence_of(error)
        else:
            found[str(path)] = ""
    return found
