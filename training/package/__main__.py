"""Run `python -m training.package`."""

from training.package.command import main

main()
