# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab: client, router, VPN server, internet and a LAN host in network namespaces of their own, with real programs in them.

Every module but `kernel` and `isolation`, which build the isolation, raises `isolation.NotIsolated` when it is imported outside.
"""
