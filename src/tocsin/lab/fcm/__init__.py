"""Firebase Cloud Messaging, HTTP v1, and the OAuth token endpoint before it: what they take, refuse and answer."""
