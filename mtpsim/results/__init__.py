"""From a simulated point to the result document."""
