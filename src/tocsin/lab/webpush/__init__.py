"""Web Push as a push service and as the browser behind it: RFC 8030, 8188, 8291 and 8292.

Browsers that are real come by the socket that Firefox speaks."""
