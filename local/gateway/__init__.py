"""An API Gateway HTTP API on this machine.

`server` serves and `trust` reads or makes the issuer's key; the other modules only compute.
"""
