"""`python -m latentbench`."""

from latentbench.cli import main

main(prog_name="latentbench")
