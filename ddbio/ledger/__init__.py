"""The ledger: what is durable, what was rejected, and whether the counts agree."""
