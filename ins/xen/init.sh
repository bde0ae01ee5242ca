#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# init of the INS domain: its network as the kernel's command line says, then mw-ins. See doc/xen.md, "INS domain".
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o size=4m run /run

fail() {
	echo "mwcomms: $1; the domain ends" >/dev/kmsg
	sleep 1
	poweroff -f
	sleep 10
}

read -r modules </mod/order
for m in $modules; do
	insmod "/mod/$m.ko" || fail "cannot load $m"
done

n=0
until [ -e /sys/class/net/eth0 ] || [ $n -ge 100 ]; do
	usleep 50000
	n=$((n + 1))
done
[ -e /sys/class/net/eth0 ] || fail "there is no eth0: vif= is missing in its xl configuration"
ip link set lo up
ip link set eth0 up
read -r words </proc/cmdline
options=
for word in $words; do
	case $word in
	ip=dhcp) udhcpc -i eth0 -q -n -t 10 -T 1 -s /bin/dhcp >/dev/null || fail "no DHCP server answers" ;;
	ip=*) ip addr add "${word#ip=}" dev eth0 || fail "$word is no ADDRESS/PREFIX" ;;
	gw=*) ip route replace default via "${word#gw=}" || fail "$word is no gateway's address" ;;
	mw.*) options="$options ${word#mw.}" ;;
	esac
done
[ ! -x /etc/mwcomms/local ] || /etc/mwcomms/local &
# shellcheck disable=SC2086 # each option is a word
while :; do
	mw-ins xen $options
	status=$?
	[ $status != 2 ] || fail "a word of the kernel's command line that begins with mw. is not known"
	echo "mwcomms: mw-ins ended with status $status; it is started again" >/dev/kmsg
	sleep 1
done
