# How SAM builds everything in template.yaml; included by the Makefile of each architecture.
BUILD := python3 $(dir $(lastword $(MAKEFILE_LIST)))build.py

build-DependenciesLayer:
	$(BUILD) dependencies $(ARCHITECTURE) $(ARTIFACTS_DIR)

build-BlogLayer:
	$(BUILD) blog $(ARTIFACTS_DIR)

# UsersFunction is the folder functions/users.
build-%Function:
	$(BUILD) function $(shell echo $* | tr A-Z a-z) $(ARCHITECTURE) $(ARTIFACTS_DIR)
