"""A DynamoDB of canned replies, so cheap to serve that a benchmark measures the client: `python -m benchmarks.wire`."""
