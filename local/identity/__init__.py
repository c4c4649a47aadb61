"""Callers on this machine: an OpenID issuer with a key of this checkout, and the check of tokens.

Needs joserfc and cryptography, which are development packages: in AWS, API Gateway checks tokens.
"""
