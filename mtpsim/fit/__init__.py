"""From logs to a model: chains by likelihood, times by law, step times to a cost model."""
