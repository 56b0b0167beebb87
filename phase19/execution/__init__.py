"""Executors carry out orders: simulated, replayed from records, or live. One protocol, three executors."""
