"""The Docker-free local runtime: the functions of template.yaml on this machine.

gateway     an API Gateway HTTP API on 127.0.0.1
runtime     workers: AWS's Lambda emulator with AWS's runtime client, or Python alone; their pool
services    PostgreSQL and Valkey, real servers from Python wheels
demo        fake users and posts
generate    committed files that are made from the code: OpenAPI document, sample events

`python -m local` has the commands. Nothing listens beyond loopback.
"""

import sys
from pathlib import Path

# This package, the tests and the benchmarks find the functions and `shared` there. Workers do not
# import it: they have only what the template gives them.
ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "functions"), str(ROOT / "layers" / "shared")]
