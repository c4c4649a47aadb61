# The build targets of SAM for template.yaml. Each architecture's Makefile includes this file, and sets
# LAYERS to its folder. They use the environment of `make install`, or without it any Python.
OWN_PYTHON := $(LAYERS)/../.venv/bin/python
PYTHON := $(shell test -x "$(OWN_PYTHON)" && echo '$(OWN_PYTHON)' || echo python3)
BUILD := "$(PYTHON)" "$(LAYERS)/build.py"

build-DependenciesLayer:
	$(BUILD) dependencies $(ARCHITECTURE) "$(ARTIFACTS_DIR)"

build-SharedLayer:
	$(BUILD) shared "$(ARTIFACTS_DIR)"

# UsersFunction is the folder functions/users, LineItemsFunction the folder functions/line_items.
build-%Function:
	$(BUILD) function $(shell echo $* | tr A-Z a-z) $(ARCHITECTURE) "$(ARTIFACTS_DIR)"
