"""``make chaos``: everything is killed, at random, while uploads come in; then rows are counted.

``python -m tests.chaos --help`` tells the options. A run is a *plan* drawn from a seed
(:mod:`.plan`), a *storm* that carries it out (:mod:`.storm`) on real processes
(:mod:`.campaign`), and a *verdict* (:mod:`.invariants`) over what is left in the database.
"""
