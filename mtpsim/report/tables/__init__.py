"""Tables and sentences, for the terminal and the page."""
