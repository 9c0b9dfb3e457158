/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/names.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/manager.h"
#include "network/resolver.h"
#include "network/socket-mark.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define PROGRAM	   "/usr/sbin/dnsmasq"
#define USER	   "holdfast-dns"
#define CGROUP	   "names"
#define ADDRESS    "127.104.102.53" /* "hf", beside whatever else listens on loopback */
#define RETRY_USEC USEC_PER_SEC

uid_t names_uid(void)
{
	const struct passwd *user = getpwnam(USER);
	return user ? user->pw_uid : 0;
}

void names_find_resolvers(struct manager *manager)
{
	const struct kill_switch *settings = manager->settings;
	struct worker_resolvers *found = &manager->names.resolvers;
	found->count = MIN_OF(settings->dns.bypass_count, (size_t)WORKER_RESOLVERS_MAX);
	if (found->count)
		memcpy(found->servers, settings->dns.bypass, found->count * sizeof *found->servers);
	else
		found->count = resolver_uplink_servers(manager->options.state_dir, found->servers, WORKER_RESOLVERS_MAX);
}

bool names_server(const struct manager *manager, struct ip_address *ret)
{
	return manager->names.pid > 0 && ip_address_parse(ADDRESS, ret) == 0;
}

/* ---- what it runs with ---- */

/* The tunnel whose resolvers are asked for all else; NULL: none routes everything and has some. */
static const struct tunnel_runtime *carrier(const struct manager *manager)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++) {
		const struct tunnel_runtime *runtime = &manager->tunnels[i];
		if (runtime->config && runtime->config->all && runtime->link_ready &&
			(runtime->config->dns_count || runtime->network.dns_count))
			return runtime;
	}
	return NULL;
}

static void append_domain(struct text *text, const char *domain, const struct worker_resolvers *resolvers)
{
	char address[IP_TEXT_MAX];
	for (size_t i = 0; i < resolvers->count; i++)
		text_append(text, "server=/%s/%s\n", domain, ip_address_format(address, &resolvers->servers[i]));
	text_append(text, "nftset=/%s/4#inet#" GATE_TABLE "#names4,6#inet#" GATE_TABLE "#names6\n", domain);
}

/* NULL: it need not run. The caller frees it. */
static char *make_config(const struct manager *manager)
{
	const struct tunnel_runtime *runtime = carrier(manager);
	struct text domains = TEXT_NULL, text = TEXT_NULL;
	char address[IP_TEXT_MAX];
	for (size_t i = 0; i < manager->grants.count; i++)
		if (manager->grants.items[i].type == BYPASS_DOMAIN)
			append_domain(&domains, manager->grants.items[i].name, &manager->names.resolvers);
	if (!domains.length || !runtime || manager->core.mode == GATE_MODE_OFF || manager->released_marker) {
		text_done(&domains);
		return NULL;
	}
	const struct ip_address *servers = runtime->config->dns_count ? runtime->config->dns : runtime->network.dns;
	size_t count = runtime->config->dns_count ? runtime->config->dns_count : runtime->network.dns_count;
	text_append(&text, "user=" USER "\nlisten-address=" ADDRESS "\nbind-interfaces\nno-resolv\nno-hosts\ncache-size=0\npid-file=\n");
	for (size_t i = 0; i < count; i++)
		text_append(&text, "server=%s\n", ip_address_format(address, &servers[i]));
	text_append_bytes(&text, domains.bytes, domains.length);
	text_done(&domains);
	return text_steal(&text);
}

/* ---- the process ---- */

static void set_detail(struct names *names, char *words)
{
	if (words && (!names->detail || strcmp(words, names->detail) != 0))
		log_warning("granted domains: %s", words);
	free(names->detail);
	names->detail = words;
}

static void stop(struct names *names)
{
	names->child = sd_event_source_disable_unref(names->child);
	if (names->pid > 0) {
		(void)kill(names->pid, SIGKILL); /* our own child, not waited for yet: the number is still its */
		while (waitpid(names->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	names->pid = 0;
	free(names->config);
	names->config = NULL;
	(void)socket_mark_cgroup_remove(CGROUP);
}

static _Noreturn void run_child(int cgroup, const char *option)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (cgroup >= 0) {
		int procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
		if (procs < 0 || write(procs, "0", 1) != 1)
			_exit(126);
	}
	execl(PROGRAM, "dnsmasq", "--keep-in-foreground", option, (char *)NULL);
	_exit(127);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	names_update(manager);
	host_resolver_update(manager);
	return 0;
}

/* The gate stays as it is: names are not resolved until it runs again. */
static int on_exit_of_child(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct manager *manager = userdata;
	struct names *names = &manager->names;
	names->pid = 0;
	names->child = sd_event_source_disable_unref(names->child);
	set_detail(names, info->si_code == CLD_EXITED && info->si_status == 127
				  ? text_dup(PROGRAM " is not there; install dnsmasq-base")
				  : text_format("dnsmasq ended (%s %d); it is started again", info->si_code == CLD_EXITED ? "status" : "signal", info->si_status));
	free(names->config);
	names->config = NULL;
	manager_arm_timer(manager, &names->retry, manager_now() + RETRY_USEC, on_retry);
	return 0;
}

static int start(struct manager *manager, const char *config)
{
	struct names *names = &manager->names;
	_cleanup_free_ char *path = document_path(manager->options.runtime_dir, "dnsmasq.conf");
	_cleanup_free_ char *option = text_format("--conf-file=%s", path);
	_cleanup_close_ int cgroup = -1;
	if (names_uid() == 0) {
		set_detail(names, text_dup("the user " USER " does not exist; make it with: systemd-sysusers, or useradd --system " USER));
		return -ESRCH;
	}
	int r = file_write_atomic(path, config, strlen(config), 0644);
	if (r < 0) {
		set_detail(names, text_format("%s cannot be written: %s", path, strerror(-r)));
		return r;
	}
	(void)socket_mark_cgroup(CGROUP, 0, &cgroup); /* without one a daemon that comes later cannot end it */
	names->pid = fork();
	if (names->pid == 0)
		run_child(cgroup, option);
	r = names->pid < 0 ? -errno : sd_event_add_child(manager->event, &names->child, names->pid, WEXITED, on_exit_of_child, manager);
	if (r < 0) {
		set_detail(names, text_format("dnsmasq cannot be started: %s", strerror(-r)));
		stop(names);
		return r;
	}
	names->config = text_dup(config);
	set_detail(names, NULL);
	return 0;
}

static void flush(struct manager *manager)
{
	if (manager->names.flush && gate_flush_names(manager->gate) == 0)
		manager->names.flush = false;
}

void names_update(struct manager *manager)
{
	struct names *names = &manager->names;
	_cleanup_free_ char *config = make_config(manager);
	bool same = config && names->config && strcmp(config, names->config) == 0;
	if (!same)
		stop(names);
	flush(manager);
	if (config && !same && start(manager, config) < 0)
		manager_arm_timer(manager, &names->retry, manager_now() + RETRY_USEC, on_retry);
	for (size_t i = 0; i < manager->grants.count; i++) {
		struct grant *grant = &manager->grants.items[i];
		if (grant->type != BYPASS_DOMAIN)
			continue;
		grant->in_effect = names->pid > 0;
		free(grant->detail);
		grant->detail = names->pid > 0 ? NULL : text_dup(names->detail ? names->detail : "names are resolved while a tunnel is up");
	}
}

void names_begin(struct manager *manager)
{
	(void)socket_mark_cgroup_remove(CGROUP);
}

void names_free(struct manager *manager)
{
	struct names *names = &manager->names;
	names->retry = sd_event_source_disable_unref(names->retry);
	names->child = sd_event_source_disable_unref(names->child);
	if (!carrier(manager)) /* else tunnels go on, and the host still asks it: the next daemon takes its place */
		stop(names);
	free(names->config);
	names->config = NULL;
	free(names->detail);
	names->detail = NULL;
}
