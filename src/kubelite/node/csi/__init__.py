"""CSI volumes on a node: registration of drivers, calls to them, and what they leave behind."""
