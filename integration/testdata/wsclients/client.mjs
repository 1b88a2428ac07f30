// One login over WebSocket by a library that we did not write: it logs in, sends a message, waits for one, and leaves.
//
// Usage: node client.mjs LIBRARY, where LIBRARY is xmpp.js, stanza or strophe.js, with a JSON object on standard input:
//
//   modules                    directory of node_modules
//   url                        of the WebSocket
//   user, password, resource   at localhost
//   mechanism                  PLAIN or X-TOKEN; with that, password is the token
//   to, text                   the message to send; to oneself without to
//
// It prints "session JID", "heard FROM TEXT" for the first message, and "left"; exit code 0. It sends no presence: who is
// available would be given what others of the same user have left unread, and xmpp.js miscounts what comes before stream
// management is enabled (XEP-0198). If the login is refused it
// prints "refused CONDITION", as far as the library tells it, and the exit code is 3.

import dns from 'node:dns';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { webcrypto } from 'node:crypto';

const library = process.argv[2];
const o = JSON.parse(readFileSync(0));
const require = createRequire(join(o.modules, 'node_modules', '_'));
const load = (path) => import(pathToFileURL(join(o.modules, 'node_modules', path)));

// What browsers have.
globalThis.WebSocket = require('ws');
globalThis.crypto ??= webcrypto;
dns.setDefaultResultOrder('ipv4first');

const print = (...words) => console.log(words.join(' '));
const refused = (condition) => {
    print('refused', condition);
    process.exit(3);
};
const heard = (from, text) => print('heard', from, text);
const left = () => {
    print('left');
    process.exit(0);
};
setTimeout(() => {
    print('nothing happens');
    process.exit(4);
}, 30_000);

const clients = {
    'xmpp.js': async () => {
        const { client, xml } = await load('@xmpp/client/index.js');
        const c = client({ service: o.url, domain: 'localhost', resource: o.resource, username: o.user, password: o.password });
        if (o.mechanism === 'X-TOKEN') {
            function XToken() {}
            XToken.prototype = { name: 'X-TOKEN', clientFirst: true, response: (c) => `\0${c.username}\0${c.password}` };
            c.saslFactory._mechs = [];
            c.saslFactory.use('X-TOKEN', XToken);
        }
        c.reconnect.stop();
        c.on('error', () => {}); // start tells
        c.on('online', async (jid) => {
            print('session', jid);
            await c.send(xml('message', { to: o.to ?? jid.toString(), type: 'chat' }, xml('body', {}, o.text)));
        });
        c.on('stanza', async (stanza) => {
            if (!stanza.is('message') || !stanza.getChildText('body')) return;
            heard(stanza.attrs.from, stanza.getChildText('body'));
            await c.stop();
            left();
        });
        await c.start().catch((error) => refused(error.condition ?? error));
    },

    stanza: async () => {
        const XMPP = require('stanza');
        const c = XMPP.createClient({
            jid: `${o.user}@localhost`, password: o.password, resource: o.resource,
            transports: { websocket: o.url, bosh: false }, autoReconnect: false,
        });
        if (o.mechanism === 'X-TOKEN') {
            for (const name of ['PLAIN', 'SCRAM-SHA-1']) c.sasl.disable(name);
            c.sasl.register('X-TOKEN', require('stanza/lib/sasl').PLAIN, 2000);
        }
        let condition = 'somehow';
        c.on('sasl', (sasl) => (condition = sasl.condition ?? condition));
        c.on('auth:failed', () => refused(condition));
        c.on('session:started', () => {
            print('session', c.jid);
            c.sendMessage({ to: o.to ?? c.jid, type: 'chat', body: o.text });
        });
        c.on('message', (m) => {
            if (!m.body) return;
            heard(m.from, m.body);
            c.on('disconnected', left);
            c.disconnect();
        });
        c.connect();
    },

    'strophe.js': async () => {
        const { Strophe, $msg } = await load('strophe.js/dist/strophe.node.esm.js');
        Strophe.setLogLevel(Strophe.LogLevel.FATAL);
        class XToken extends Strophe.SASLMechanism {
            constructor() {
                super('X-TOKEN', true, 80);
            }
            onChallenge(connection) {
                return `\0${connection.authcid}\0${connection.pass}`;
            }
        }
        const c = new Strophe.Connection(o.url, { mechanisms: [o.mechanism === 'X-TOKEN' ? XToken : Strophe.SASLPlain] });
        c.connect(`${o.user}@localhost/${o.resource}`, o.password, (status, condition, failure) => {
            switch (status) {
                case Strophe.Status.AUTHFAIL:
                    return refused(failure?.firstChild?.nodeName);
                case Strophe.Status.CONNECTED:
                    print('session', c.jid);
                    c.addHandler((m) => {
                        const text = m.getElementsByTagName('body')[0]?.textContent;
                        if (!text) return true;
                        heard(m.getAttribute('from'), text);
                        c.disconnect();
                    }, null, 'message');
                    return c.send($msg({ to: o.to ?? c.jid, type: 'chat' }).c('body').t(o.text));
                case Strophe.Status.DISCONNECTED:
                    return left();
            }
        });
    },
};
await clients[library]();
