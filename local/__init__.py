"""The Docker-free local runtime: the functions of template.yaml on this machine.

`python -m local run` puts an HTTP API gateway on 127.0.0.1 in front of workers. A worker is one
process group: AWS's Lambda emulator (from aws-sam-cli) with AWS's runtime client (awslambdaric).
PostgreSQL and Valkey are real servers that come as Python wheels. Nothing listens beyond loopback.
"""

import sys
from pathlib import Path

# Where this package, the tests and the benchmarks find the functions and `blog`. Workers do not
# import it: they have what the template gives them, and no more.
ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "functions"), str(ROOT / "layers" / "blog")]
