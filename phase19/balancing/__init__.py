"""Makespan, load limits, and the plan that each strategy makes."""
