"""Compare strategies, and backtest a plan on recorded outcomes."""
