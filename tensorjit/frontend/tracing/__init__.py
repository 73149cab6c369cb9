"""Recording one run of a callable: see `tensorjit.frontend.trace`."""
