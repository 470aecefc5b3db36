"""Boards with telephone sockets: drivers (bytes to events) and the link that owns the port."""
