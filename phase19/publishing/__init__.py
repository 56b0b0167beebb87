"""Write run directories and their files, completely or not at all."""
