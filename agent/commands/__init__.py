"""The commands beside `run`: each looks at the device or at what the daemon left, and says so."""
