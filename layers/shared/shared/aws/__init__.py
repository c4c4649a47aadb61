"""A minimal AWS client on the standard library: credentials, signatures, tokens, secrets.

boto3 would cost a cold start more than 100 ms.
"""
