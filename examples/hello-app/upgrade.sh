#!/bin/sh
# Brings the data of $FLEET_PREVIOUS_VERSION to this version. May be run again after a failure: it is noted once.
set -eu
echo "upgrading $FLEET_APP_NAME from $FLEET_PREVIOUS_VERSION to $FLEET_APP_VERSION"
note="upgraded $FLEET_PREVIOUS_VERSION to $FLEET_APP_VERSION"
cd "$FLEET_DATA/hello"
[ "$(tail -n 1 history)" = "$note" ] || echo "$note" >> history
echo "$(cat visits) visits kept, first seen $(cat first-seen)"
