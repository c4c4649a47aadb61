"""An API Gateway HTTP API on this machine: `server` serves, the other modules only compute."""
