"""Importers: one module per log format, each making rows of attempts that `attempts.write_inputs` writes."""
