"""Plugins that register through sockets in the folder `plugins_registry`: CSI and DRA drivers."""
