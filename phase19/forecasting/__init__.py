"""Forecasts of success, duration and confidence for every (task, agent) pair."""
