"""The synchronous Engine API client: one connection for a whole command, standard library only.

`kedge.client.http` speaks HTTP/1.1 over unix sockets and TCP, `kedge.client.hosts` finds the
engine, `kedge.client.streams` moves bytes between a terminal and a hijacked connection. Works
against a real dockerd, too.
"""
