#!/bin/sh
# A lab host's Open vSwitch, in user space because not every kernel has its module: the bridge "ovs0" with the card eth1, which carries every
# VLAN as a trunk does. Its database lives as long as the host has power.
set -e
db=/run/openvswitch/conf.db
rm -f "$db"
ovsdb-tool create "$db" /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server "$db" --remote=punix:/run/openvswitch/db.sock --pidfile --detach --no-chdir --log-file=/var/log/libvirt/ovsdb.log -vconsole:off
ovs-vsctl --timeout=10 --no-wait init
ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach --no-chdir --disable-system --log-file=/var/log/libvirt/ovs-vswitchd.log -vconsole:off
ethtool -K eth1 tx off rx off tso off gso off
ovs-vsctl --timeout=10 add-br ovs0 -- set bridge ovs0 datapath_type=netdev -- add-port ovs0 eth1
