"""The volumes of pods: their content, their folders on the host and their mounts."""
