"""The schema's changes, oldest first. None is ever edited once released: a new change is a new file."""
