"""Data sets from files that exist: their readers, their description, and the copy into shards."""
