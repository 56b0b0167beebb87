"""How a run directory comes to be whole or not at all, and what its report is drawn with."""
