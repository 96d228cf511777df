#!/bin/sh
# Runs in the foreground until it is told to end.
exec "${FLEET_PYTHON:-python3}" -u app.py
