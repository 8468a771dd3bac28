"""How the objects of a resource get and keep their form: built-in kinds as Go does it, custom ones by their schema."""
