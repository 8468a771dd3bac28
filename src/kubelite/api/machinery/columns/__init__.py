"""The table columns of each kind: what `kubectl get` prints, `-o wide` included."""
