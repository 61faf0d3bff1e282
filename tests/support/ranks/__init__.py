"""Ranks under mpirun that a server forks after all imports, for tests that run many ranks.

mpirun starts `client.py` for each rank. The client asks `server.py`, which runs in the process of the test,
for a forked process. This process has the arguments, the environment, the folder and the output of the
client, and connects to mpirun as the rank. `server.write_python` writes a program for the batch jobs of the
tests, which start the client in place of `python -m pipeline.MODULE`.
"""
