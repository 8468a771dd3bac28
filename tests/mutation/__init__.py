"""Mutation testing: breaks a module in one small way at a time and shows which breaks no test notices."""
