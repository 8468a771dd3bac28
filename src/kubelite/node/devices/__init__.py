"""The devices of a node: device plugins, and what they put into containers."""
