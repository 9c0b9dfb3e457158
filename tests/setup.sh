# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
#
# What ./quickstart and ./check have in common: which packages are needed for what, and how a step shows that it works.
# Sourced, from the top of the tree.

PACKAGES_BUILD=(
	gcc make autoconf automake pkg-config libc6-dev linux-libc-dev
	libsystemd-dev libjson-c-dev libnftables-dev libmnl-dev libnl-3-dev libnl-route-3-dev libnl-genl-3-dev
	libmicrohttpd-dev libgnutls28-dev libssl-dev libsqlite3-dev libcurl4-openssl-dev libcunit1-dev
)
PACKAGES_RUN=(nftables iproute2 wireguard-go wireguard-tools)
PACKAGES_LAB=(python3 util-linux dnsmasq-base)
PACKAGES_CHECK=(python3-jsonschema python3-yaml curl procps bsdutils openssl clang libclang-rt-14-dev llvm dbus libglib2.0-bin systemd cppcheck shellcheck xz-utils
	network-manager python3-dbusmock python3-gi polkitd zsh fish mandoc openvpn ansible-core python3-dbus
	isc-dhcp-client iptables ufw firewalld busybox-static libdevmapper1.02.1 libseccomp2)

# A virtual machine with a kernel that has WireGuard; busybox is what it begins with.
PACKAGES_VM=(qemu-system-x86 busybox-static)

# node and npm that are there already will do, wherever they came from.
command -v node >/dev/null && command -v npm >/dev/null || PACKAGES_CHECK+=(nodejs npm)

# Where Holdfast goes and looks, the same for every build of both scripts.
DIRECTORIES=(--prefix=/usr/local --sysconfdir=/etc --localstatedir=/var)

say() { printf '%s\n' "$*"; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

need_root_on_debian() {
	[ "$(id -u)" -eq 0 ] || die "run me as root: I install packages and make network namespaces"
	[ -r /etc/os-release ] || die "this is no Debian: /etc/os-release is missing"
	local ID="" ID_LIKE="" VERSION_ID=""
	# shellcheck disable=SC1091
	. /etc/os-release
	case " $ID $ID_LIKE " in
	*" debian "*) ;;
	*) die "this is $ID, not Debian: install the packages by hand and build with ./configure && make" ;;
	esac
	[ "$ID" != debian ] || [ "${VERSION_ID:-13}" -ge 12 ] || die "Debian 12 or later is needed, this is $VERSION_ID"
}

# Installs those of the packages named that are missing, and says which.
install_packages() {
	local missing=() package
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	say "Missing packages, to be installed from Debian: ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	step "apt-get update" apt-get -q -o DPkg::Lock::Timeout=300 update
	step "apt-get install" without_services apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install "${missing[@]}" || return
	# Not at the next boot either: it would take the host's links over.
	if [[ " ${missing[*]} " == *" network-manager "* ]] && command -v systemctl >/dev/null; then
		systemctl --quiet disable NetworkManager.service NetworkManager-dispatcher.service NetworkManager-wait-online.service || return
	fi
	if [[ " ${missing[*]} " == *" firewalld "* ]] && command -v systemctl >/dev/null; then
		systemctl --quiet disable firewalld.service || return # it would reject what comes in
	fi
}

# Runs a command that installs packages, in a shell of its own; none of them starts a service on the host (the lab starts its own, in
# namespaces), and what sees to that goes with the shell.
without_services() (
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then # else the host has one: it decides
		trap 'rm -f "$policy"' EXIT
		install -m 755 /dev/stdin "$policy" <<<$'#!/bin/sh\nexit 101' || exit
	fi
	"$@"
)

# Puts what tests/npm asks for, by its lock, into DIR/node_modules; what is there already stays.
install_npm_packages() { # DIR
	local directory=$1 file
	mkdir -p "$directory"
	if cmp -s tests/npm/package-lock.json "$directory/package-lock.json" && [ -d "$directory/node_modules" ]; then return 0; fi
	rm -rf "$directory/node_modules"
	for file in package.json .npmrc package-lock.json; do cp "tests/npm/$file" "$directory/" || return; done
	if ! step "npm ci" npm --prefix "$directory" ci --ignore-scripts --no-audit --no-fund; then
		rm -f "$directory/package-lock.json" # to be tried again
		return 1
	fi
}

# Programs that tests use, out of their packages: installing those would start servers on this machine, or take its resolv.conf over.
install_tools() { # DIR
	unpack_programs "$1" prometheus ./usr/bin/promtool && unpack_programs "$1" docker.io ./usr/sbin/dockerd &&
		unpack_programs "$1" containerd ./usr/bin/containerd ./usr/bin/containerd-shim-runc-v2 && unpack_programs "$1" runc ./usr/sbin/runc &&
		unpack_packages "$1" systemd-resolved libsystemd-shared && # of one version, whatever the machine's systemd has
		unpack_packages "$1" resolvconf && unpack_packages "$1" openresolv
}

# Puts what is in the packages into DIR/FIRST, or nothing.
# shellcheck disable=SC2016 # it is sh that knows them
unpack_packages() { # DIR FIRST PACKAGE…
	local directory=$1 name=$2
	shift
	[ ! -d "$directory/$name" ] || return 0
	rm -rf "$directory/$name.new" && mkdir -p "$directory/$name.new" &&
		step "$name" in_directory "$directory/$name.new" sh -c 'apt-get -q download "$@" &&
			for package in *.deb; do dpkg-deb -x "$package" . || exit; done && rm -f ./*.deb' sh "$@" &&
		mv "$directory/$name.new" "$directory/$name"
}

unpack_programs() { # DIR PACKAGE FILE…
	[ ! -x "$1/$3" ] || return 0
	# shellcheck disable=SC2016 # the inner shell's
	mkdir -p "$1" && step "${3##*/}" in_directory "$1" sh -c 'package=$1 && shift && apt-get -q download "$package" &&
		dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x "$@" && rm -f "$package"_*.deb' sh "${@:2}"
}

# Debian's kernel, taken out of its package and never installed: what a lab needs of it, in DIR.
install_kernel() { # DIR
	[ ! -e "$1/complete" ] || return 0
	mkdir -p "$1" && step "Debian's kernel" in_directory "$1" unpack_kernel
}

unpack_kernel() {
	local package version part parts=()
	rm -rf ./*
	package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
	version=${package#linux-image-}
	for part in arch/x86/crypto crypto drivers/block/virtio_blk.ko drivers/char/hw_random drivers/net/dummy.ko drivers/net/tun.ko drivers/net/veth.ko \
		drivers/net/ifb.ko drivers/net/macvlan.ko drivers/net/vrf.ko drivers/net/wireguard drivers/virtio fs/9p fs/fscache fs/netfs fs/overlayfs \
		lib net; do
		parts+=("./lib/modules/$version/kernel/$part")
	done
	apt-get -q download "$package" &&
		dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x "./boot/vmlinuz-$version" "./lib/modules/$version/modules.order" \
			"./lib/modules/$version/modules.builtin" "./lib/modules/$version/modules.builtin.modinfo" "${parts[@]}" &&
		mv "boot/vmlinuz-$version" vmlinuz && rmdir boot && rm -f "$package"_*.deb &&
		busybox depmod -b "$PWD" "$version" && touch complete
}

# The first files of the virtual machine: busybox, INIT, GUEST, and the modules that find the host's.
make_initramfs() { # IMAGE INIT GUEST RESULT
	local modules name root
	root=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-initramfs.XXXXXX") || return
	modules=$(cd "$1/lib/modules" && echo *)
	mkdir -p "$root/bin" "$root/lib/modules/$modules" &&
		cp /bin/busybox "$root/bin/busybox" && cp "$2" "$root/init" && cp "$3" "$root/guest" &&
		for name in drivers/virtio drivers/char/hw_random fs/9p fs/fscache fs/netfs fs/overlayfs net/9p lib; do
			mkdir -p "$root/lib/modules/$modules/kernel/$name" &&
				cp -r "$1/lib/modules/$modules/kernel/$name/." "$root/lib/modules/$modules/kernel/$name" || return
		done
	busybox depmod -b "$root" "$modules" && (cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$4"
	local status=$?
	rm -rf "$root"
	return "$status"
}

# step TITLE COMMAND…: runs COMMAND with its output in a log, shows that it goes on, and the log's end where it fails. COMMAND is what the
# shell waits for: what it leaves to itself does not hear Ctrl-C.
step() {
	local title=$1 log begun=$SECONDS ticker going_on status=0
	shift
	log=$(mktemp "${TMPDIR:-/tmp}/holdfast-step.XXXXXX")
	printf '%s …' "$title"
	exec {going_on}> >(tick "$title")
	ticker=$!
	("$@") >"$log" 2>&1 </dev/null {going_on}>&- || status=$?
	exec {going_on}>&-
	wait "$ticker" || :
	[ ! -t 1 ] || printf '\r%s …' "$title"
	if [ "$status" -eq 0 ]; then
		printf ' done (%d s)\n' $((SECONDS - begun))
		rm -f "$log"
	else
		printf ' FAILED (status %d); the end of %s:\n' "$status" "$log"
		tail -n 40 "$log" | sed 's/^/    /'
	fi
	return "$status"
}

# Says every second, or ten, how long TITLE takes already, until its input ends, as it does with the shell that began it.
tick() { # TITLE
	local begun=$SECONDS shown=0 status=0
	while
		read -t 1 -r || status=$?
		[ "$status" -gt 128 ] # a second has gone by
	do
		status=0
		if [ -t 1 ]; then
			printf '\r%s … %d s' "$1" $((SECONDS - begun))
		elif [ $((SECONDS - begun)) -ge $((shown + 10)) ]; then
			shown=$((SECONDS - begun))
			printf ' %d s' "$shown"
		fi
	done
}

# build DIR CONFIGURE-ARGUMENT…: generates, configures and makes in DIR; what is up to date stays.
build() { configure_in "$@" && make_in "$1" all; }

configure_in() { # DIR CONFIGURE-ARGUMENT…
	local directory=$1 arguments
	shift
	arguments="$*"
	if [ ! -x configure ] || [ configure.ac -nt configure ] || [ Makefile.am -nt Makefile.in ]; then
		step "Generating the build system" autoreconf -fi || return
	fi
	mkdir -p "$directory"
	if [ ! -f "$directory/Makefile" ] || [ configure -nt "$directory/config.status" ] ||
		[ "$(cat "$directory/.arguments" 2>/dev/null)" != "$arguments" ]; then
		step "Configuring in $directory" in_directory "$directory" "$PWD/configure" "${DIRECTORIES[@]}" "$@" || return
		# make does not see that flags differ: what other arguments made is made again.
		make -C "$directory" -s clean >/dev/null 2>&1 || :
		printf '%s\n' "$arguments" >"$directory/.arguments"
	fi
}

make_in() { step "Building in $1" make -C "$1" -s -j"$(nproc)" "$2"; } # DIR GOAL

in_directory() {
	cd "$1" || return
	shift
	"$@"
}
