"""The audit: an export's files held against their manifest, and against a table."""
