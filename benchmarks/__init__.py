"""The measured claims: this API beside the same one in `benchmarks/baseline`."""

import local  # noqa: F401 - so that the functions and `shared` are found
