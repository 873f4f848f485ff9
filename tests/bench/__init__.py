"""`python -m tests.bench` (`make bench`): the same work on b2mount and on rclone's mount, side by side.

    __main__    the command line and the report        table      rows of results as text
    run         buckets and stages                      measure    what a result is
    stage       one workload of one peer, measured      peers      the programs and their mounts
    reading, naming, writing    the workloads           processes  CPU, memory, FUSE connections
    emulator    the B2 of a run, in its own process     hub        what the benchmark does to it
    library     the bytes of all files                  watchdog   a bound on every step
    line        far, narrow and failing lines           sampler    bytes over time
    saving      a run in a file                         pictures   what it looks like, by drawing

By themselves: `python -m tests.bench.million` (a million names, and how long others wait meanwhile),
`.sharing` (many readers at once), `.loopback` (a line without limits), `.lines` (small work on every line),
`.growth` (1, 10, 100, ... of everything; what grows is in growing), `.profile` (where the CPU goes).

Each row has a fresh mount with an empty cache (unless it says otherwise), and its result is checked
byte by byte and name by name: a fast wrong answer is a failure.
"""
