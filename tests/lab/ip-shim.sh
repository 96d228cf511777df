#!/bin/sh
# Stands in for the kernel's 802.1Q where it has none, under the name "ip": a VLAN device of eth2 becomes a tagged port of Open vSwitch, whose
# bridge reaches the same trunk by eth1. Everything else goes to iproute2. As "modprobe" it says that 8021q is there.
switch() { exec ovs-vsctl --timeout=10 "$@"; }
if [ "${0##*/}" = modprobe ]; then
  case " $* " in *" 8021q "*) exit 0 ;; esac
  exec /usr/sbin/modprobe "$@"
fi
case "$*" in
"link add link eth2 name "*" type vlan id "*)
  name=$6 number=${10}
  [ ! -e "/sys/class/net/$name" ] || { echo "RTNETLINK answers: File exists" >&2; exit 2; }
  [ "$number" -ge 1 ] && [ "$number" -le 4094 ] || { echo "Error: 8021q: Invalid VLAN id." >&2; exit 2; }
  switch add-port ovs0 "$name" tag="$number" -- set interface "$name" type=internal
  ;;
"link del dev eth2."*) switch del-port ovs0 "$4" ;;
esac
exec /usr/sbin/ip "$@"
