"""The client of the Hugging Face hub: whether the hub answers, and requests that fail at once. Imports no torch.

`datasets` and `huggingface_hub` share one HTTP client, which repeats a failed request for about 23 seconds before each
error, and several requests come in a row. So one request is made first, which is not repeated. If it fails, or if
nothing may be fetched, the client refuses all others, as with HF_HUB_OFFLINE=1, and the cache is read at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

from condense.data.hub_packages import hub_package

# A hub that does not answer in so many seconds counts as unreachable.
_PATIENCE = 10.0


def answers(name: str) -> bool:
    """Return whether the hub answers when it is asked for a dataset, also if the answer is a refusal."""
    hub = hub_package("huggingface_hub")
    try:
        hub.HfApi(library_name="condense").dataset_info(name, timeout=_PATIENCE)
    except hub.errors.OfflineModeIsEnabled:
        return False
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError):
        return True
    except (
        Exception
    ):  # Those of the HTTP library, which is another one in each release: no route, no name, no time.
        return False
    return True


@contextlib.contextmanager
def refusing_requests() -> Iterator[None]:
    """Let the hub's client raise OfflineModeIsEnabled for every request in the block, as with HF_HUB_OFFLINE=1."""
    hub = hub_package("huggingface_hub")

    def refuse(request: Any) -> NoReturn:
        raise hub.errors.OfflineModeIsEnabled(f"{request.url} is not asked: only the cache is read")

    client = hub.get_session()
    before = client.event_hooks
    client.event_hooks = {**before, "request": [refuse]}
    try:
        yield
    finally:
        client.event_hooks = before
