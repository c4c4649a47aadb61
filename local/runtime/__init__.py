"""Functions on this machine: workers in AWS's Lambda emulator, their pool, and the reaper."""
