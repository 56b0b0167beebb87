"""The DuckDB session that runs `sql/`, and the evidence it reads."""
