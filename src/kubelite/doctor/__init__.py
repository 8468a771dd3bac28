"""Examines a host: what kubelite needs of it, what will fail later, and what to do about it.

One module for each subject has its facts as a Struct, a `gather` that reads the host and changes nothing, and a pure
`judge` from facts to findings. `examination` lists all subjects and runs them side by side within a deadline; `start`
runs those that cost next to nothing whenever a server or an agent has started.
"""
