"""The report of a result as one HTML file, which loads nothing from elsewhere."""
