"""The audit: an export's files compared with their manifest and with a table."""
