"""The wire to the platform: typed requests and answers, streaming uploads, kinds of failure.

The only folder with HTTP (PROTOCOL.md). `client.PlatformClient` is what others use; what went
wrong comes as a `failures.PlatformFailure` and as nothing else.
"""

from agent.platform.later import load_later

load_later()
