#!/bin/sh
# The agent waits for the end afterwards, and helps if it does not come.
echo "asking process $FLEET_PID to end"
kill -TERM "$FLEET_PID"
