"""Snapshots that leave the machine: sealed with the cluster's keys in them, on a schedule, in a bucket."""
