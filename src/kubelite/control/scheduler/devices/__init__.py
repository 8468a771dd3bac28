"""Gives out devices to resource claims: the pure allocator, what is given out already, and the claims of one pod."""
