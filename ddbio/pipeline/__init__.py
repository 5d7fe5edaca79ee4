"""The two pipelines: a segment into files (`exporting`), and a span into the table (`importing`)."""
