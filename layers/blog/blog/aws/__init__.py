"""What the functions need of AWS, by the standard library: signatures, credentials, certificates.

boto3 would cost a cold start more than 100 ms.
"""
