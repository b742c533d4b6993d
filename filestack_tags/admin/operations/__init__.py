"""The operations page and the circuit breaker."""
