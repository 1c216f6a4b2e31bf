"""``python -m leveler``."""

from leveler.cli import main

if __name__ == "__main__":
    main()
