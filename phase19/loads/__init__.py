"""How busy agents are: the parts of makespan, evenness and load limits."""
