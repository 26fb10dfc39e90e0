"""`condense protocols`: the ways of training students."""

from condense_cli.inspection import offer_group

command = offer_group("protocol", summary="List the evaluation protocols; `protocols show NAME` prints one.")
