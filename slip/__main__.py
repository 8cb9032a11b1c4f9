"""The command ``slip``, also as ``python -m slip``."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """The command; Ctrl-C is heeded from here on, also while it is imported."""
    try:
        from slip.cli.app import main as command
    except KeyboardInterrupt:
        print("slip: interrupted", file=sys.stderr)
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
