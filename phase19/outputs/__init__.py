"""The summary, the report and the explanations of a run."""
