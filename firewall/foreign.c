/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "firewall/foreign.h"

#include <netinet/in.h> /* before the kernel's headers, which then leave its types alone */

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "firewall/gate.h"
#include "util/macro.h"

#define ANSWER_SEC   2 /* the kernel answers at once */
#define RECEIVE_SIZE 32768
#define ATTRIBUTES   16 /* of those that are looked at */

struct listing {
	struct foreign_table *tables;
	size_t count;
};

struct attributes {
	const struct nlattr *at[ATTRIBUTES];
};

const char *foreign_family(int family)
{
	switch (family) {
	case NFPROTO_INET:
		return "inet";
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_BRIDGE:
		return "bridge";
	case NFPROTO_NETDEV:
		return "netdev";
	case NFPROTO_ARP:
		return "arp";
	default:
		return "?";
	}
}

/* By what the name of a table, or of a chain in it, begins with. */
static const char *find_owner(const char *name)
{
	static const struct {
		const char *prefix, *owner;
	} owners[] = {
		{"firewalld", "firewalld"}, {"FWD", "firewalld"}, {"ufw", "ufw"}, {"docker", "Docker"}, {"DOCKER", "Docker"},
		{"LIBVIRT", "libvirt"}, {"libvirt", "libvirt"}, {"wg-quick-", "wg-quick"}, {"mullvad", "Mullvad"}, {"nordvpn", "NordVPN"},
		{"ts-", "Tailscale"}, {"KUBE-", "Kubernetes"}, {"cali-", "Calico"}, {"netavark", "Podman"}, {"NETAVARK", "Podman"},
		{"nm-", "NetworkManager"}, {"f2b-", "fail2ban"}, {"sshguard", "sshguard"},
	};
	for (size_t i = 0; i < ELEMENTSOF(owners); i++)
		if (strncmp(name, owners[i].prefix, strlen(owners[i].prefix)) == 0)
			return owners[i].owner;
	return NULL;
}

static int collect(const struct nlattr *attribute, void *data)
{
	struct attributes *attributes = data;
	if (mnl_attr_get_type(attribute) < ATTRIBUTES)
		attributes->at[mnl_attr_get_type(attribute)] = attribute;
	return MNL_CB_OK;
}

static bool get_name(const struct nlattr *attribute, char name[FOREIGN_NAME_MAX])
{
	if (!attribute)
		return false;
	snprintf(name, FOREIGN_NAME_MAX, "%.*s", (int)mnl_attr_get_payload_len(attribute), (const char *)mnl_attr_get_payload(attribute));
	return true;
}

static uint32_t get_number(const struct nlattr *attribute)
{
	return attribute && mnl_attr_get_payload_len(attribute) >= sizeof(uint32_t) ? ntohl(mnl_attr_get_u32(attribute)) : 0;
}

/* The table's entry, made where there is none; NULL: it is the gate's, or one too many. */
static struct foreign_table *find_table(struct listing *listing, int family, const char *name)
{
	if (family == NFPROTO_INET && strcmp(name, GATE_TABLE) == 0)
		return NULL;
	for (size_t i = 0; i < MIN_OF(listing->count, (size_t)FOREIGN_TABLES_MAX); i++)
		if (listing->tables[i].family == family && strcmp(listing->tables[i].name, name) == 0)
			return &listing->tables[i];
	if (listing->count++ >= FOREIGN_TABLES_MAX)
		return NULL;
	struct foreign_table *table = &listing->tables[listing->count - 1];
	*table = (struct foreign_table){.family = family, .owner = find_owner(name)};
	memcpy(table->name, name, FOREIGN_NAME_MAX);
	return table;
}

/* A packet that leaves passes hook output; the gate judges it at priority 0 there. */
static void read_hook(const struct attributes *chain, struct foreign_table *table)
{
	struct attributes hook = {};
	char type[FOREIGN_NAME_MAX] = "";
	mnl_attr_parse_nested(chain->at[NFTA_CHAIN_HOOK], collect, &hook);
	bool output = table->family != NFPROTO_NETDEV && table->family != NFPROTO_ARP && table->family != NFPROTO_BRIDGE &&
		      get_number(hook.at[NFTA_HOOK_HOOKNUM]) == NF_INET_LOCAL_OUT;
	int32_t priority = (int32_t)get_number(hook.at[NFTA_HOOK_PRIORITY]);
	(void)get_name(chain->at[NFTA_CHAIN_TYPE], type);
	table->hooks++;
	table->drops_output |= output && chain->at[NFTA_CHAIN_POLICY] && get_number(chain->at[NFTA_CHAIN_POLICY]) == NF_DROP;
	table->reroutes_later |= output && strcmp(type, "route") == 0 && priority >= 0;
}

static int read_chain(const struct nlmsghdr *message, void *userdata)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	struct attributes chain = {};
	char table_name[FOREIGN_NAME_MAX] = "", name[FOREIGN_NAME_MAX] = "";
	mnl_attr_parse(message, sizeof *header, collect, &chain);
	if (!get_name(chain.at[NFTA_CHAIN_TABLE], table_name) || !get_name(chain.at[NFTA_CHAIN_NAME], name))
		return MNL_CB_OK;
	struct foreign_table *table = find_table(userdata, header->nfgen_family, table_name);
	if (table && !table->owner)
		table->owner = find_owner(name);
	if (table && chain.at[NFTA_CHAIN_HOOK])
		read_hook(&chain, table);
	return MNL_CB_OK;
}

static int read_flowtable(const struct nlmsghdr *message, void *userdata)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	struct attributes flowtable = {};
	char table_name[FOREIGN_NAME_MAX] = "";
	mnl_attr_parse(message, sizeof *header, collect, &flowtable);
	struct foreign_table *table = get_name(flowtable.at[NFTA_FLOWTABLE_TABLE], table_name)
					      ? find_table(userdata, header->nfgen_family, table_name)
					      : NULL;
	if (table)
		table->flowtable = true;
	return MNL_CB_OK;
}

static int dump(struct mnl_socket *socket, unsigned type, mnl_cb_t handler, struct listing *listing)
{
	char buffer[RECEIVE_SIZE];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	message->nlmsg_seq = type + 1;
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof *header);
	header->nfgen_family = NFPROTO_UNSPEC;
	header->version = NFNETLINK_V0;
	if (mnl_socket_sendto(socket, message, message->nlmsg_len) < 0)
		return -errno;
	for (int more = MNL_CB_OK; more > MNL_CB_STOP;) {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof buffer);
		if (length < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		more = mnl_cb_run(buffer, (size_t)length, type + 1, mnl_socket_get_portid(socket), handler, listing);
		if (more < 0)
			return -errno;
	}
	return 0;
}

/* They are read by another interface than nftables'. Their names stand there once anybody has looked into them. */
bool foreign_legacy(int family)
{
	_cleanup_fclose_ FILE *file = fopen(family == AF_INET6 ? "/proc/self/net/ip6_tables_names" : "/proc/self/net/ip_tables_names", "re");
	return file && fgetc(file) != EOF;
}

int foreign_tables_read(struct foreign_table ret[FOREIGN_TABLES_MAX], size_t *ret_count)
{
	struct listing listing = {.tables = ret};
	struct timeval timeout = {.tv_sec = ANSWER_SEC};
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!socket)
		return -errno;
	int r = mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
				setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0
			? -errno
			: dump(socket, NFT_MSG_GETCHAIN, read_chain, &listing);
	if (r == 0)
		r = dump(socket, NFT_MSG_GETFLOWTABLE, read_flowtable, &listing);
	mnl_socket_close(socket);
	if (r == 0)
		*ret_count = listing.count;
	return r;
}
