"""The page of a result: one file that fetches nothing."""
