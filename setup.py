"""A shim for tools that still look for it: all metadata is in pyproject.toml, and pip builds."""

import sys

if __name__ == "__main__":
    sys.exit("setup.py builds nothing here. Run: pip install .")
