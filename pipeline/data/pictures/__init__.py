"""The pictures of a data card, one kind a module: each draws on a figure what it is given."""
