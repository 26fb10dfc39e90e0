"""`condense methods`: the recipes there are."""

from condense_cli.inspection import offer_group

command = offer_group("method", summary="List the methods; `methods show NAME` prints one.")
