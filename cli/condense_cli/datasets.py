"""`condense datasets`: the real images there are to condense."""

from condense_cli.inspection import offer_group

command = offer_group("dataset", summary="List the datasets; `datasets show NAME` prints one.")
