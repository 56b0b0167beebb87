"""Strategies side by side: the plans each would make, what they promise, and what one world makes of them."""
