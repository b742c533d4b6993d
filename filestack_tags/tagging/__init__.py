"""Tagging: the queue, leases, calls to taggers, their results, the budget and the circuit
breaker.
"""
