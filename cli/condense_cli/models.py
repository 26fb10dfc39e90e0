"""`condense models`: the networks for teachers and students."""

from condense_cli.inspection import offer_group

command = offer_group("model", summary="List the networks; `models show NAME` prints one.")
