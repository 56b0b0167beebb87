"""Run directories and their files: written whole or not at all."""
