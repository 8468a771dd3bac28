"""Machines for tests: whole node hosts on one machine, the network between them, and kubelite processes in them.

`bed.Bed` builds what a `topology.Topology` describes, `cluster.Cluster` runs a server and agents on it:

    with Bed(spread(alpha=LAN, beta=LAN, gamma=FAR, delta=HOME)) as bed:
        cluster = Cluster(bed, "alpha")
        cluster.join("beta", "gamma", "delta")

A host is a set of namespaces with files (overlays of /etc and /var, an empty /run), processes, control groups, a host
name and an engine of its own, so programs run on it with all their defaults. `machine.Machine` starts, stops and kills
what runs on it, changes its address, and takes its power away. `fabric.Fabric` is the network: it cuts hosts off, in
one direction too, loses and delays packets, hides links behind translation, moves cables. `traffic.Traffic` asks a
service without a pause and tells what failed. `api.Api` waits for states by list and watch.

Nothing of the machine is touched, and nothing is left: all processes of a bed end with the test's, also by kill -9;
folders and control groups of dead runs are removed by the next bed (`leftovers`). A failing test shows the logs of all
processes. On two cores three hosts with engines are up after 0.5 s and hold 31 MB each; a server and two agents are
Ready 2.5 s later, with 110 and 92 MB, engines counted.

`hosts` has the older single host, a network namespace alone, for tests that need no more.
"""
