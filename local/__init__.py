"""The Docker-free local runtime: the functions of template.yaml on this machine.

gateway     an API Gateway HTTP API on 127.0.0.1
runtime     workers: AWS's Lambda emulator with AWS's runtime client, or Python alone; their pool
services    PostgreSQL and Valkey, real servers from Python wheels
demo        fake users and posts
generate    files that are generated from the code: OpenAPI document, sample events

`python -m local` has the commands. Servers listen on loopback addresses only.
"""

import sys
from pathlib import Path

# For imports of the functions and `shared` by this package, tests and benchmarks. Workers do not
# import this package: their path follows from the template.
ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "functions"), str(ROOT / "layers" / "shared")]
