#!/bin/sh
# Process 1 of a lab host, in namespaces of its own for mounts, network, processes, IPC and host name.
# Arguments: host name, folder with what is this host's own. Ends when its standard input does, and with it the host.
name=$1 own=$2
read -r pid rest </proc/self/stat # our number as the outside sees it: /proc is still the machine's
echo "$pid" >"$own/pid.new" && mv "$own/pid.new" "$own/pid"
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys # shows this host's network only, and no cgroups
mount --bind "$own/etc" /etc
mount --bind "$own/root" /root
for part in lib log cache; do
  mkdir -p /var/$part/libvirt
  mount --bind "$own/$part" /var/$part/libvirt
done
mount -t tmpfs -o mode=755,size=64m run /run
mkdir -p /run/sshd /run/lock /run/libvirt /run/openvswitch
mount --bind "$own/bin" /usr/local/sbin # first where programs are looked for
hostname "$name"
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_CACHE_HOME
cd /
sh /etc/lab/switch.sh >/var/log/libvirt/switch.log 2>&1
/usr/sbin/sshd -E /var/log/libvirt/sshd.log
/usr/sbin/libvirtd --daemon --pid-file /run/libvirtd.pid
exec 3<&0
cat <&3 >/dev/null & # ends with our standard input
wait $! # and meanwhile reaps: what libvirtd starts becomes ours
