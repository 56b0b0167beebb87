"""The parts of the exact assignment: prices first, then the few tasks they leave contested."""
