"""The parts of the forecast: success, durations, confidence, and the worlds drawn from what is known."""
