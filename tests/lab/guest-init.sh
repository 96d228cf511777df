#!/bin/busybox sh
# Everything that runs in the lab's guest. Words of the kernel command line:
#   tick=US   microseconds from one counted line to the next (200000)
#   dirty=M   keep changing M MiB of memory
#   write     write each tick to its own sector of /dev/vda as well
#   addr=A/L  address of eth0
#   ping=A,B  ask these addresses again and again: "PING address ok n" or "PING address no n", each with its own n
# Serial line: "GUEST-READY …", then "TICK n up=seconds" for ever; a shell reads it. The power button switches off.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover virtio_net virtio_balloon evdev button; do
  [ -f /modules/$module.ko ] && insmod /modules/$module.ko 2>/dev/null
done
tick=200000
for word in $(cat /proc/cmdline); do
  case $word in
    tick=*) tick=${word#tick=} ;;
    dirty=*) dirty=${word#dirty=} ;;
    write) write=1 ;;
    addr=*) addr=${word#addr=} ;;
    ping=*) ping=${word#ping=} ;;
  esac
done

mkdir -p /etc/acpi/PWRF
printf '#!/bin/sh\necho GUEST-POWER-BUTTON >/dev/console\nsync\npoweroff -f\n' >/etc/acpi/PWRF/00000080
chmod +x /etc/acpi/PWRF/00000080
acpid -f -c /etc/acpi -l /dev/null &

echo "GUEST-READY $(grep MemTotal /proc/meminfo | tr -s ' ') disks=$(ls /sys/block | tr '\n' ' ')"

if [ -n "$dirty" ]; then
  mkdir -p /dirty
  mount -t tmpfs -o size=$((dirty + 2))m t /dirty
  dd if=/dev/urandom of=/random bs=64k count=2 2>/dev/null
  for part in 1 2 3 4 5 6 7 8; do cat /random; done >/dirty/pattern
  (while :; do
    place=1
    while [ $place -lt $dirty ]; do
      dd if=/dirty/pattern of=/dirty/all bs=1M seek=$place conv=notrunc 2>/dev/null
      place=$((place + 1))
    done
  done) &
fi
if [ -n "$addr" ]; then
  ip addr add "$addr" dev eth0
  ip link set eth0 up
fi
for target in $(echo "$ping" | tr , ' '); do
  (ok=0 no=0
  while :; do
    if ping -c 1 -W 1 "$target" >/dev/null 2>&1; then ok=$((ok + 1)); echo "PING $target ok $ok"; usleep 300000
    else no=$((no + 1)); echo "PING $target no $no"; fi
  done) &
done
(while :; do sh </dev/ttyS0 >/dev/ttyS0 2>&1; sleep 1; done) &

n=0
while :; do
  n=$((n + 1))
  read up rest </proc/uptime
  echo "TICK $n up=$up"
  [ -n "$write" ] && printf '%-511s\n' "TICK $n" | dd of=/dev/vda bs=512 seek=$n conv=notrunc,fsync 2>/dev/null
  usleep $tick
done
