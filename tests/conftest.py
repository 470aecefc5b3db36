"""Settings of all tests."""

import os

from hypothesis import HealthCheck, settings

# A busy machine must fail no test: neither for a slow example nor for slow drawing of one.
settings.register_profile("agent", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("agent")

# Nor may the language of the one who runs them.
os.environ["LC_ALL"] = "C.UTF-8"
