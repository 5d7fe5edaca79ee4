"""The DynamoDB data plane: one attempt per call, typed errors, nothing retried."""
