"""What is special about writing objects of one kind; one file per kind."""
