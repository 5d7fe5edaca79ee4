"""What people use instead of ddbio, each as short as its documentation shows it: `python -m benchmarks.peers`."""
