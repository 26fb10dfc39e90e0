"""What users see: nothing here computes anything, nothing elsewhere in the CLI draws."""
