"""The firmware agent of a call-recording gateway.

Data walks one way: serial port, board driver, channel states, calls, ledger, delivery,
platform. Each room is one module or package with one job; `daemon.py` joins them.
"""

__version__ = "1.0.0"
