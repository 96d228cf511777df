#!/bin/sh
# Prepares a blank data disk. May be run again after a failure: what is there is left as it is.
set -eu
echo "installing $FLEET_APP_NAME $FLEET_APP_VERSION for $FLEET_LABEL"
mkdir -p "$FLEET_DATA/hello"
cd "$FLEET_DATA/hello"
[ -s first-seen ] || date -u +%Y-%m-%dT%H:%M:%SZ > first-seen
[ -s visits ] || echo 0 > visits
[ -s history ] || echo "installed $FLEET_APP_VERSION" > history
echo "first seen $(cat first-seen)"
