"""`python -m agent.simulation.bench` is scripts/bench."""

import sys

from agent.simulation.bench.command import main

sys.exit(main())
