#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Somebody at a desktop who calls one method, with an authentication agent that answers for him. Prints what happened as JSON.

desktop_user.py ANSWER INTERACTIVE PATH INTERFACE MEMBER [ARGUMENT…]     on the bus of $DBUS_SYSTEM_BUS_ADDRESS; arguments are strings

The caller is `nobody`; INTERACTIVE ("yes") says whether his call allows that he is asked. ANSWER is what the agent does when polkit has it
ask: `consent`, `refuse` (a wrong password), `dismiss`, `leave` (the caller's connection is closed, and the end of the question waited
for), or `none`: there is no agent.
"""

import json
import os
import sys

from gi.repository import Gio, GLib

NOBODY = 65534
NAME = "org.holdfast.Holdfast1"
POLKIT, AUTHORITY = "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority"
PATIENCE = 60  # seconds; a bound for broken code
AGENT = Gio.DBusNodeInfo.new_for_xml(f"""<node><interface name="{POLKIT}.AuthenticationAgent">
  <method name="BeginAuthentication"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="s" direction="in"/>
    <arg type="a{{ss}}" direction="in"/><arg type="s" direction="in"/><arg type="a(sa{{sv}})" direction="in"/></method>
  <method name="CancelAuthentication"><arg type="s" direction="in"/></method></interface></node>""")
LOOP = GLib.MainLoop()
told = {"reply": None, "error": None, "text": None, "asked": [], "cancelled": False}


def connect(user):
    flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
    os.seteuid(user)  # the bus keeps who connected
    bus = Gio.DBusConnection.new_for_address_sync(os.environ["DBUS_SYSTEM_BUS_ADDRESS"], flags, None, None)
    os.seteuid(0)
    return bus


def ask_polkit(bus, member, arguments, done=None):
    flags, timeout = Gio.DBusCallFlags.NONE, PATIENCE * 1000
    if not done:
        return bus.call_sync(POLKIT, AUTHORITY, f"{POLKIT}.Authority", member, arguments, None, flags, timeout, None)
    return bus.call(POLKIT, AUTHORITY, f"{POLKIT}.Authority", member, arguments, None, flags, timeout, None, done)


def register_agent(bus, caller, answer):
    def on_call(connection, sender, path, interface, member, arguments, invocation):
        if member == "CancelAuthentication":
            told["cancelled"] = True
            LOOP.quit()
            return
        action, _, _, _, cookie, identities = arguments
        told["asked"].append(action)
        if answer == "dismiss":
            invocation.return_dbus_error(f"{POLKIT}.Error.Cancelled", "dismissed")
        elif answer == "refuse":
            invocation.return_value(None)
        elif answer == "leave":
            caller.close_sync(None)
        else:  # what polkit's own helper does once the password was right
            kind, details = arguments.get_child_value(5).get_child_value(0).unpack()
            details = {key: GLib.Variant("u", value) for key, value in details.items()}
            ask_polkit(bus, "AuthenticationAgentResponse2", GLib.Variant("(us(sa{sv}))", (0, cookie, (kind, details))),
                       lambda *_: invocation.return_value(None))

    bus.register_object("/agent", AGENT.interfaces[0], on_call, None, None)
    with open("/proc/self/stat", encoding="ascii") as file:
        begun = int(file.read().rsplit(")", 1)[1].split()[19])  # proc(5): (22) starttime
    subject = ("unix-process", {"pid": GLib.Variant("u", os.getpid()), "start-time": GLib.Variant("t", begun)})
    ask_polkit(bus, "RegisterAuthenticationAgent", GLib.Variant("((sa{sv})ss)", (subject, "C", "/agent")))


def main(answer, interactive, path, interface, member, *arguments):
    caller, owner = connect(NOBODY), connect(0)
    caller.set_exit_on_close(False)

    def answered(bus, result):
        try:
            told["reply"] = bus.call_finish(result).unpack()
        except GLib.Error as error:
            told["error"], told["text"] = Gio.DBusError.get_remote_error(error), error.message
        if answer != "leave":
            LOOP.quit()

    if answer != "none":
        register_agent(owner, caller, answer)
    values = GLib.Variant(f"({'s' * len(arguments)})", arguments)
    flags = Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION if interactive == "yes" else Gio.DBusCallFlags.NONE
    caller.call(NAME, path, interface, member, values, None, flags, PATIENCE * 1000, None, answered)
    GLib.timeout_add_seconds(PATIENCE, LOOP.quit)
    LOOP.run()
    print(json.dumps(told))


main(*sys.argv[1:])
