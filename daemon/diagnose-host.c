/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Diagnose: what the kernel, its settings and the installed programs lack, and what takes its place. */

#include <errno.h>
#include <string.h>

#include "daemon/diagnose.h"
#include "daemon/manager.h"
#include "network/host.h"
#include "network/resolver.h"
#include "network/socket-mark.h"
#include "network/wireguard.h"
#include "tunnel/driver.h"
#include "tunnel/worker-domain.h"
#include "util/text.h"

#define DHCPV6_CLIENT 546 /* the greater of the clients' ports; DHCPv4's is 68 */
#define DNSMASQ	      "/usr/sbin/dnsmasq"

/* ---- the kernel ---- */

static void look_at_marks(struct findings *findings)
{
	static const char lost[] = "programs, units, slices and users cannot be granted, NetworkManager's check is not let by, and clients of VPNs keep "
				   "CAP_NET_ADMIN to mark their own sockets";
	int cgroups = socket_mark_cgroups(), programs = socket_mark_programs();
	if (cgroups < 0)
		findings_add(findings, FINDING_CGROUPS_MISSING, "cgroup v2", "%s: %s",
			cgroups == -EOPNOTSUPP ? "is not mounted where the daemon's own cgroup could be seen" : "cannot be written beneath the daemon's own cgroup", lost);
	if (programs < 0)
		findings_add(findings, FINDING_BPF_REFUSED, "bpf(2)", "refuses a program that marks sockets (%s): %s", strerror(-programs), lost);
	if (cgroups == 0 && programs == 0 && !host_has_bpffs())
		findings_add(findings, FINDING_PINS_MISSING, "/sys/fs/bpf",
			"is no bpffs: programs that mark granted cgroups are kept by no name, so that a daemon without CAP_SYS_ADMIN cannot take them off");
}

static bool any_of(const struct manager *manager, const struct driver *driver)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config && manager->tunnels[i].config->driver == driver)
			return true;
	return false;
}

static void look_at_kernel(const struct manager *manager, struct findings *findings)
{
	int tun = host_tun();
	if (tun < 0)
		findings_add(findings, FINDING_TUN_MISSING, "/dev/net/tun", "cannot be opened (%s): no tunnel that a program carries, and no hf0 for the second layer",
			strerror(-tun));
	if (!wireguard_kernel_available() && any_of(manager, &driver_wireguard))
		findings_add(findings, FINDING_KERNEL_WIREGUARD_MISSING, "wireguard", "is not in this kernel: wireguard-go carries, slower, and its worker keeps CAP_NET_ADMIN");
	if (!worker_domain_possible())
		findings_add(findings, FINDING_WORKERS_NOT_PARTED, "Landlock", "is not in this kernel: workers of one user can look into each other, and end each other");
	if (!host_has_ipv6())
		findings_add(findings, FINDING_IPV6_OFF, "IPv6", "is off on this host: servers and granted networks that have IPv6 alone are not reached");
	if (!host_has_clock())
		findings_add(findings, FINDING_CLOCK_MISSING, "/sys/class/rtc",
			"has no clock that goes on while the machine is off: behind a closed gate nothing sets the time, by which certificates and tokens are judged");
}

/* ---- settings ---- */

static void tell_held(const char *path, int former, int held, int present, void *userdata)
{
	struct findings *findings = userdata;
	if (present < 0)
		findings_unknown(findings, path, present, "another value than Holdfast's");
	else if (former != 0 && present == held) /* the kernel's default of all of them, which nobody chose */
		findings_add(findings, FINDING_HOST_SETTING_HELD, path, "was %d, and is held at %d while the gate stands", former, held);
}

static void look_at_settings(const struct manager *manager, struct findings *findings)
{
	_cleanup_free_ char *store = document_path(manager->options.runtime_dir, "host-settings.json");
	int start = host_unprivileged_port_start();
	const char *resolver;
	int r = resolver_writable(&resolver);
	if (start < 0)
		findings_unknown(findings, "net/ipv4/ip_unprivileged_port_start", start, "a port of DHCP that everybody may use");
	else if (start <= DHCPV6_CLIENT)
		findings_add(findings, FINDING_DHCP_PORTS_OPEN, "net/ipv4/ip_unprivileged_port_start",
			"is %d: every user may send from the ports of DHCP clients, and so past the gate to the LAN's broadcast addresses", start);
	if (r < 0)
		findings_add(findings, FINDING_RESOLVER_READ_ONLY, resolver, "cannot be written (%s): a tunnel that brings resolvers cannot come up", strerror(-r));
	host_settings_held(store, tell_held, findings);
}

/* ---- programs ---- */

/* Where workers look: see WORKER_PATH. */
static bool is_installed(const char *program)
{
	static const char *const places[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"};
	if (program[0] == '/')
		return access(program, X_OK) == 0;
	for (size_t i = 0; i < ELEMENTSOF(places); i++) {
		_cleanup_free_ char *path = text_format("%s/%s", places[i], program);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static void look_at_tunnel(const struct tunnel_config *config, struct findings *findings)
{
	const struct driver *driver = config->driver;
	char detail[WORKER_DETAIL_MAX] = "";
	int r = driver->device ? driver->device->choose(config, detail) : 0;
	if (r < 0)
		findings_add(findings, FINDING_TUNNEL_IMPOSSIBLE, config->id, "is a tunnel that cannot start: %s", detail);
	for (const char *const *program = driver->programs; r == 0 && *program; program++)
		if (!is_installed(*program)) {
			findings_add(findings, FINDING_PROGRAM_MISSING, *program, "is not installed: the tunnel %s cannot start", config->id);
			findings_remedy(findings, "apt install %s", *program); /* Debian's packages are named as the programs are */
		}
	if (config->program && !is_installed(config->program)) {
		findings_add(findings, FINDING_PROGRAM_MISSING, config->program, "is not there, or may not be run: the tunnel %s cannot start", config->id);
		findings_remedy(findings, "install it, or change the tunnel's document");
	}
}

static void look_at_programs(struct manager *manager, struct findings *findings)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config)
			look_at_tunnel(manager->tunnels[i].config, findings);
	if (grants_kinds(manager) & 1u << GRANT_NAMES && !is_installed(DNSMASQ)) {
		findings_add(findings, FINDING_PROGRAM_MISSING, DNSMASQ, "is not installed: granted domains are not resolved, and stay closed");
		findings_remedy(findings, "apt install dnsmasq-base");
	}
}

void diagnose_host(struct manager *manager, struct findings *findings)
{
	look_at_marks(findings);
	look_at_kernel(manager, findings);
	look_at_settings(manager, findings);
	look_at_programs(manager, findings);
}
