"""A local B2 over HTTP, for the demo and for tests.

`server.EmulatorServer` is the way in; `bucket_state.BucketState` is the same B2 without HTTP.
Imports nothing else of ours.
"""
