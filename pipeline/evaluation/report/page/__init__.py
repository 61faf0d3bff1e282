"""A page of HTML with parts, that needs no other files, no network and no scripts."""
