"""``python -m slip`` is the command ``slip``."""

from slip.cli.app import main

if __name__ == "__main__":
    main()
