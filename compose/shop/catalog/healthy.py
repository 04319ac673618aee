"""Healthy: it answers, and its database answered it."""

import sys, urllib.request

sys.exit(urllib.request.urlopen("http://localhost:8080/healthz", timeout=2).status != 200)
