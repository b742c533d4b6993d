"""``make chaos``: processes are killed at random during uploads; then the rows are checked.

``python -m tests.chaos --help`` lists the options. A run is a *plan* drawn from a seed
(:mod:`.plan`), a *storm* that executes it (:mod:`.storm`) on real processes (:mod:`.campaign`), and
a *verdict* (:mod:`.invariants`) about the rows in the database.
"""
