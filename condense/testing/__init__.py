"""The conformance kit for authors of plugins, and small made-up images for the tests of a plugin.

    from condense.testing import check_plugin

    def test_my_plugin_keeps_the_contract():
        check_plugin("my-plugin")

The public names stand in `__init__.pyi`. Each is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
