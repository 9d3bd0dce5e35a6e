"""What a person sees: tables, figures, tidy rows and progress, all from the result document.

Importing this package costs nothing; rich and matplotlib load when a function needs them.
"""
