"""Lets `python -m kubelite` run the command line."""

from kubelite.cli import main

main()
