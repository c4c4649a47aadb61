import local  # noqa: F401 - so that the functions and `shared` are found
