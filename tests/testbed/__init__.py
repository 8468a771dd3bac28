"""Machines for tests: whole node hosts on one machine, the network between them, and kubelite processes in them."""
