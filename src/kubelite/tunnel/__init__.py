"""Many byte streams over one connection: frames, credit, and the end of a tunnel that serves sockets."""
