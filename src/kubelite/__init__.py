"""A whole Kubernetes cluster in one asyncio process."""
