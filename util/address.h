/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* IP addresses, networks and endpoints as values: parsed once, compared as bytes, printed canonically (RFC 5952). */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ip_address {
	int family; /* AF_INET, AF_INET6, or AF_UNSPEC for none */
	uint8_t bytes[16];
};

struct ip_prefix {
	struct ip_address address; /* as an interface has it; see ip_prefix_mask() */
	uint8_t length;
};

/* A VPN server's address, protocol and port. */
struct endpoint {
	struct ip_address address;
	uint16_t port;
	uint8_t protocol; /* IPPROTO_UDP or IPPROTO_TCP */
};

#define IP_TEXT_MAX 50	     /* an IPv6 address with a prefix length */
#define ENDPOINT_TEXT_MAX 64 /* [v6]:port/protocol */

/* Literal addresses only; never a name, a zone or white space, nor an IPv4 address written as an IPv6 one. -EINVAL otherwise. */
int ip_address_parse(const char *text, struct ip_address *ret);
/* "ADDRESS/LENGTH", or "ADDRESS" alone for a host. Host bits are kept. */
int ip_prefix_parse(const char *text, struct ip_prefix *ret);
/* "192.0.2.1:51820/udp" or "[2001:db8::1]:443/tcp". */
int endpoint_parse(const char *text, struct endpoint *ret);

/* Each returns BUFFER. */
const char *ip_address_format(char buffer[IP_TEXT_MAX], const struct ip_address *address);
const char *ip_prefix_format(char buffer[IP_TEXT_MAX], const struct ip_prefix *prefix);
const char *endpoint_format(char buffer[ENDPOINT_TEXT_MAX], const struct endpoint *endpoint);

bool ip_address_equal(const struct ip_address *a, const struct ip_address *b);
bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

/* The network of PREFIX: host bits cleared. */
struct ip_prefix ip_prefix_mask(struct ip_prefix prefix);
bool ip_prefix_contains(const struct ip_prefix *network, const struct ip_address *address);
/* Whether all of NETWORK lies in one of the COUNT RANGES. */
bool ip_prefix_inside_any(const struct ip_prefix *ranges, size_t count, const struct ip_prefix *network);
/* The first address behind PREFIX, a network. False: there is none. */
bool ip_prefix_end(const struct ip_prefix *prefix, struct ip_address *ret);
/* Sorts NETWORKS, IPv4 first, and leaves out those that lie within another. Returns how many are left. */
size_t ip_prefixes_merge(struct ip_prefix *networks, size_t count);
bool ip_address_is_loopback(const struct ip_address *address);
/* Whether it can be one host's: not the unspecified address, multicast, the class E range or its broadcast (RFC 1112, RFC 4291 2.4). */
bool ip_address_is_unicast(const struct ip_address *address);
/* … and another host's than this one's. */
bool ip_address_is_remote(const struct ip_address *address);
uint8_t ip_address_bits(const struct ip_address *address); /* 32 or 128 */
