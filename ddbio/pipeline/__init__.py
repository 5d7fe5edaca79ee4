"""The two straight lines: segment → files, and span → table."""
