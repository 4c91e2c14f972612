"""python -m bilevel: the program, as `bilevel` runs it."""

from bilevel_program import main

main()
