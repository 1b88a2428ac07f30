"""Logs in with nbxmpp, the library of Gajim, and says each step in a line.

Usage: nbxmpp_client.py USER DOMAIN PASSWORD HOST PORT starttls|direct

The certificate is not checked: the library leaves that to its desktop. The exit code is 0 when every step went well, 3
when the login was refused, 1 for all else.
"""

import sys

from gi.repository import GLib
from nbxmpp.client import Client
from nbxmpp.const import ConnectionProtocol, ConnectionType, StreamError

STAY = 2000  # milliseconds to stay connected after the answers

code = 1
loop = GLib.MainLoop()


def finish(value):
    global code
    code = value
    client.disconnect()


def disconnected(client, *_):
    domain, error, text = client.get_error()
    if domain is not None:
        print("failed", domain, error, text, flush=True)
    global code
    if domain == StreamError.SASL:
        code = 3
    loop.quit()


def failed(*_):
    print("connection failed", client.get_error(), flush=True)
    loop.quit()


def connected(*_):
    print("session", client.get_bound_jid(), flush=True)
    client.get_module("Roster").request_roster(None, callback=roster)


def roster(task):
    task.finish()
    print("roster", flush=True)
    client.get_module("Discovery").disco_info(domain, callback=info)


def info(task):
    task.finish()
    print("identities", flush=True)
    client.get_module("Ping").ping(domain, callback=pong)


def pong(task):
    task.finish()
    print("ping", flush=True)
    GLib.timeout_add(STAY, stayed)


def stayed():
    print("stayed", client.state.name, flush=True)
    finish(0)
    return False


user, domain, password, host, port, kind = sys.argv[1:7]
client = Client()
client.set_domain(domain)
client.set_username(user)
client.set_resource("nbxmpp-" + kind)
client.set_password(password)
client.set_ignore_tls_errors(True)
client.set_custom_host(f"{host}:{port}", ConnectionProtocol.TCP,
                       ConnectionType.DIRECT_TLS if kind == "direct" else ConnectionType.START_TLS)
client.subscribe("connected", connected)
client.subscribe("disconnected", disconnected)
client.subscribe("connection-failed", failed)
client.connect()
GLib.timeout_add_seconds(30, loop.quit)
loop.run()
sys.exit(code)
