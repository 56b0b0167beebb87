"""Exact assignment of tasks to agents under capacities, with an optimality certificate."""
