"""`python -m condense_cli` does what `condense` does."""

from condense_cli.main import main

main()
