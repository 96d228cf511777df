#!/bin/sh
# The files of certificate and key have changed: they are read again, and nobody is disconnected.
kill -HUP "$FLEET_PID"
