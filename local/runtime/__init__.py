"""Functions on this machine: workers of two kinds, their pool, and the reaper."""
