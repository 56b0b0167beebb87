"""Plans judged by what happened: replayed, measured, and set beside what hindsight could have done."""
