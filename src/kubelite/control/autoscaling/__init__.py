"""What the HorizontalPodAutoscaler controller decides by: metrics, the replicas they ask for, limits and status.

It is imported when the first autoscaler exists.
"""
