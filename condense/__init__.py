"""Dataset condensation: turn a large labelled image dataset into a small synthetic one.

    import condense

    result = condense.run(method="wmdd", dataset="fashion-mini", ipc=10)
    distilled = condense.load(result.path)  # a torch Dataset of (image, label, weight)

The public names stand in `__init__.pyi`, which type checkers read too. Each is imported when it is first used, so
`import condense` is quick and imports no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
