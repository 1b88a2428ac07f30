"""Logs in with slixmpp, does what a client does, and says each step in a line.

Usage: slixmpp_client.py JID PASSWORD HOST PORT starttls|direct CA_FILE [NEW_PASSWORD]

The exit code is 0 when every step went well, 3 when the login was refused, 1 for all else.
"""

import asyncio
import sys
from pathlib import Path

import slixmpp

STAY = 2.0  # seconds to stay connected, pinging


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, password, new_password):
        super().__init__(jid, password)
        self.new_password = new_password
        self.code = 1
        self.finished = asyncio.get_event_loop().create_future()
        for plugin in ("xep_0030", "xep_0077", "xep_0092", "xep_0199", "xep_0202"):
            self.register_plugin(plugin)
        self.add_event_handler("session_start", self.on_session)
        self.add_event_handler("failed_auth", self.on_refused)
        self.add_event_handler("connection_failed", self.on_broken)
        self.add_event_handler("stream_error", self.on_broken)
        self.add_event_handler("disconnected", self.on_disconnected)

    def on_refused(self, stanza):
        print("refused", stanza["condition"], flush=True)
        self.code = 3

    def on_broken(self, what):
        print("broken", what, flush=True)
        self.end()

    def on_disconnected(self, _):
        self.end()

    def end(self):
        if not self.finished.done():
            self.finished.set_result(None)

    async def on_session(self, _):
        print("session", self.boundjid.full, flush=True)
        try:
            await self.use()
            self.code = 0
        except Exception as error:  # noqa: BLE001 - whatever it is, the test has to see it
            print("error", repr(error), flush=True)
        self.disconnect()

    async def use(self):
        roster = await self.get_roster()
        print("roster", len(roster["roster"]["items"]), flush=True)
        self.send_presence()
        info = await self["xep_0030"].get_info(jid=self.boundjid.domain)
        print("identities", len(info["disco_info"]["identities"]) > 0, flush=True)
        version = await self["xep_0092"].get_version(self.boundjid.domain)
        print("version", version["software_version"]["name"], flush=True)
        await self["xep_0202"].get_entity_time(self.boundjid.domain)
        print("time", flush=True)
        if self.new_password:
            await self["xep_0077"].change_password(self.new_password)
            print("changed", flush=True)
        loop = asyncio.get_event_loop()
        end = loop.time() + STAY
        while loop.time() < end:
            await self["xep_0199"].ping(self.boundjid.domain, timeout=5)
            await asyncio.sleep(0.2)
        print("stayed", flush=True)


def main():
    jid, password, host, port, kind, ca = sys.argv[1:7]
    client = Client(jid, password, sys.argv[7] if len(sys.argv) > 7 else None)
    client.ca_certs = Path(ca)
    client.connect((host, int(port)), use_ssl=kind == "direct", force_starttls=kind != "direct",
                   disable_starttls=kind == "direct")
    client.loop.run_until_complete(asyncio.wait_for(client.finished, 30))
    sys.exit(client.code)


main()
