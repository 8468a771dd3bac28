"""Installs a server or an agent as a service of this machine, and removes it again.

`plan` decides purely which files, links and commands that takes; `execution` carries it out.
"""
