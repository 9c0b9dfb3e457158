/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "network/sysctl.h"
#include "util/macro.h"

int host_unprivileged_port_start(void)
{
	return sysctl_read("net/ipv4/ip_unprivileged_port_start");
}

bool host_has_ipv6(void)
{
	return sysctl_read("net/ipv6/conf/all/disable_ipv6") == 0;
}

int host_tun(void)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : 0;
}

bool host_has_bpffs(void)
{
	struct statfs status;
	return statfs("/sys/fs/bpf", &status) == 0 && (unsigned long)status.f_type == BPF_FS_MAGIC;
}

bool host_has_clock(void)
{
	bool found = false;
	DIR *folder = opendir("/sys/class/rtc");
	for (struct dirent *entry; folder && !found && (entry = readdir(folder));)
		found = entry->d_name[0] != '.';
	if (folder)
		closedir(folder);
	return found;
}

void host_settings_held(const char *store, host_setting_told told, void *userdata)
{
	sysctl_each_held(store, told, userdata);
}
