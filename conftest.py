"""How many examples hypothesis tries: the same ones in every run, so that a failure in CI is one at home."""

import os

from hypothesis import settings

settings.register_profile("default", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("fuzz", deadline=None, max_examples=5000)  # make fuzz: new ones each time
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
