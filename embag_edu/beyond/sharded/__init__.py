"""A table on many machines, over torch.distributed: move indices and pooled sums, never rows.

    wire = Wire(timeout=30)                       # in each process, after init_process_group
    bag = ShardedEmbeddingBag(1_000_000, 64, sharding="row", wire=wire)
    bag(input, offsets).sum().backward()          # each process with bags of its own

`shards` says how a table is cut; `lists` is all of it in one process, in loops; `wire`, `table` and
`module` are the real one; `plan` chooses a sharding for each table; `checkpoint` saves and loads;
`dtensor` gives torch the two rules that it lacks; `processes` starts processes in tests.
"""
