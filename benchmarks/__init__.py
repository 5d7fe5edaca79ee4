"""What ddbio costs, measured: see README.md beside this file."""
