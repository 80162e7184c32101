"""`python -m hillock` is the same program as `hillock`."""

from hillock.cli import main

if __name__ == "__main__":
    main()
