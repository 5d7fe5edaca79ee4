"""`python -m ddbio`."""

import sys

from ddbio.cli import main

if __name__ == "__main__":
    sys.exit(main())
