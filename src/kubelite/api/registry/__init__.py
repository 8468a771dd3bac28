"""The served resources, and the verbs that read and write their objects."""
