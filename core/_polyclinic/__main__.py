"""`python -m polyclinic` is the command line."""

from polyclinic.app.cli import main

if __name__ == "__main__":
    main()
