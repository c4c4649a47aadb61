"""An API Gateway HTTP API on this machine.

`server` serves, and `trust` reads or creates the issuer's key; the other modules do no I/O.
"""
