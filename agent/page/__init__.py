"""The parts of the status page: its front panel, its chart, its cards, and what it looks like.

`status.html`, `status.css` and `status.js` are the page's frame; `agent.status_page` puts it
together.
"""
