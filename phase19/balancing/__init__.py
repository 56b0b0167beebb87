"""Capacities, load limits, makespans, and the plan of each strategy."""
