"""Logs in with slixmpp and sends every message back to who sent it, until standard input ends.

Usage: echo.py JID PASSWORD HOST PORT CA_FILE

It prints "session JID" when others can write to it, and "message FROM SHA256" for each message.
The hash is that of the text without white space around it.
"""

import asyncio
import hashlib
import sys
from pathlib import Path

import slixmpp


class Echo(slixmpp.ClientXMPP):
    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.finished = asyncio.get_event_loop().create_future()
        self.add_event_handler("session_start", self.on_session)
        self.add_event_handler("message", self.on_message)
        for event in ("failed_auth", "connection_failed", "stream_error", "disconnected"):
            self.add_event_handler(event, self.on_end)

    async def on_session(self, _):
        await self.get_roster()
        self.send_presence()
        print("session", self.boundjid.full, flush=True)

    def on_message(self, message):
        if message["type"] in ("chat", "normal"):
            body = message["body"]
            print("message", message["from"].bare, hashlib.sha256(body.strip().encode()).hexdigest(), flush=True)
            self.send_message(mto=message["from"].bare, mbody=body, mtype="chat")

    def on_end(self, what):
        if not self.finished.done():
            self.finished.set_result(None)
            print("ended", what, flush=True)  # which fails if nobody listens any more


def main():
    jid, password, host, port, ca = sys.argv[1:6]
    client = Echo(jid, password)
    client.ca_certs = Path(ca)
    client.loop.add_reader(sys.stdin, client.on_end, "input")
    client.connect((host, int(port)), force_starttls=True)
    client.loop.run_until_complete(client.finished)


main()
