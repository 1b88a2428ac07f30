// A small chat on strophe.js: who writes is seen, and can be answered.

import { $msg, $pres, Strophe } from './node_modules/strophe.js/dist/strophe.esm.js';
import { credentials_url, websocket_url } from './config.js';

const { Status } = Strophe;
const longestPause = 60; // seconds between two attempts to log in
let pause = 1;

/** Logs the user of the page in with the given SASL mechanism, again and again until the page is left. */
export function chat(mechanism) {
    const connection = new Strophe.Connection(websocket_url, { mechanisms: [mechanism] });
    const fieldset = document.querySelector('fieldset'); // who is not logged in cannot write

    async function login() {
        try {
            // A token is good for one login, so each attempt needs another.
            const answer = await fetch(credentials_url, { cache: 'no-store' });
            if (!answer.ok) throw new Error(`HTTP status ${answer.status}`);
            const { jid, password } = await answer.json();
            connection.connect(jid, password, onStatus);
        } catch (error) {
            show(`no token: ${error.message}`);
            again();
        }
    }

    function again() {
        setTimeout(login, pause * 1000);
        pause = Math.min(2 * pause, longestPause);
    }

    function onStatus(status, condition, element) {
        if (status === Status.CONNECTED) {
            pause = 1;
            connection.addHandler(receive, null, 'message');
            connection.send($pres());
            show(`logged in as ${connection.jid}`);
            fieldset.disabled = false;
        } else if (status === Status.AUTHFAIL) {
            show(`login refused: ${element?.firstElementChild.localName ?? condition}`);
            connection.disconnect();
        } else if (status === Status.CONNFAIL) {
            show(`no connection: ${condition}`);
        } else if (status === Status.DISCONNECTED) {
            if (!fieldset.disabled) show('connection lost');
            fieldset.disabled = true;
            connection.reset();
            again();
        }
    }

    document.querySelector('form').addEventListener('submit', (event) => {
        event.preventDefault();
        const { to, text } = event.target.elements;
        connection.send($msg({ to: to.value, type: 'chat' }).c('body').t(text.value));
        add('me', text.value);
        text.value = '';
    });
    login();
}

function receive(message) {
    const body = message.querySelector('body');
    if (body) add(Strophe.getBareJidFromJid(message.getAttribute('from')), body.textContent);
    return true; // stay for the next one
}

function add(who, text) {
    const line = document.createElement('li');
    line.textContent = `${who}: ${text}`;
    document.querySelector('ul').append(line);
}

function show(status) {
    document.querySelector('output').textContent = status;
}
