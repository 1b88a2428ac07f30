"""Two users talk to each other with slixmpp: one of them twice, for carbons.

Usage: slixmpp_pair.py HOST PORT CA_FILE USER=PASSWORD OTHER=PASSWORD

Says each step in a line. The exit code is 0 when every step went well.
"""

import asyncio
import hashlib
import sys
from pathlib import Path

import slixmpp

DOMAIN = "localhost"
BODIES = 64  # of BODY characters, each of two bytes: 1 MB
BODY = 8192


class Client(slixmpp.ClientXMPP):
    def __init__(self, user, password, resource):
        super().__init__(f"{user}@{DOMAIN}/{resource}", password)
        for plugin in ("xep_0030", "xep_0199", "xep_0280"):
            self.register_plugin(plugin)
        self.online = asyncio.get_event_loop().create_future()
        self.inbox = asyncio.Queue()
        self.copies = asyncio.Queue()
        self.pushes = asyncio.Queue()
        self.add_event_handler("session_start", lambda _: self.settle(True))
        self.add_event_handler("failed_auth", lambda stanza: self.settle(RuntimeError(stanza["condition"])))
        self.add_event_handler("connection_failed", lambda why: self.settle(RuntimeError(str(why))))
        self.add_event_handler("message", self.inbox.put_nowait)
        self.add_event_handler("carbon_sent", self.copies.put_nowait)
        self.add_event_handler("roster_update", self.on_roster)

    def settle(self, result):
        if self.online.done():
            return
        if isinstance(result, Exception):
            self.online.set_exception(result)
        else:
            self.online.set_result(result)

    def on_roster(self, stanza):
        if stanza["type"] == "set":
            self.pushes.put_nowait(stanza)

    async def arrive(self, host, port, ca):
        self.ca_certs = Path(ca)
        self.connect((host, port), force_starttls=True)
        await self.online
        await self.get_roster()
        self.send_presence()
        # The answer comes after the presence was seen.
        await self["xep_0199"].ping(DOMAIN, timeout=20)


async def talk(host, port, ca, first, second):
    (alice, alice_password), (bob, bob_password) = first, second
    phone = Client(alice, alice_password, "phone")
    desk = Client(alice, alice_password, "desk")
    other = Client(bob, bob_password, "phone")
    for client in (phone, desk, other):
        await client.arrive(host, port, ca)
        print("online", client.boundjid.full, flush=True)

    await phone.update_roster(f"{bob}@{DOMAIN}", name="Bob", groups=["friends"])
    push = await desk.pushes.get()
    print("roster", [str(jid) for jid in push["roster"]["items"]], flush=True)

    await desk["xep_0280"].enable()
    phone.send_message(mto=other.boundjid.full, mbody="hello & <welcome> ☃", mtype="chat")
    print("heard", (await other.inbox.get())["body"], flush=True)
    copy = await desk.copies.get()
    print("carbon", copy["carbon_sent"]["body"], flush=True)
    other.send_message(mto=phone.boundjid.full, mbody="hello yourself", mtype="chat")
    print("heard", (await phone.inbox.get())["body"], flush=True)

    digest, right = hashlib.sha256(), hashlib.sha256()
    for n in range(BODIES):
        body = f"{n:06}" + "é" * (BODY - 6)
        right.update(body.encode())
        phone.send_message(mto=other.boundjid.full, mbody=body, mtype="chat")
    for n in range(BODIES):
        digest.update((await other.inbox.get())["body"].encode())
    print("megabyte", digest.digest() == right.digest(), flush=True)
    for client in (phone, desk, other):
        await client.disconnect()
    print("left", flush=True)


def main():
    host, port, ca, first, second = sys.argv[1:]
    asyncio.get_event_loop().run_until_complete(
        asyncio.wait_for(talk(host, int(port), ca, first.split("="), second.split("=")), 50))


main()
