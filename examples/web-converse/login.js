// What a page whose users log in with tokens needs beside Converse.js. With a credentials_url it keeps a refused login to
// itself, and asks for another token every three seconds.

import converse from './node_modules/converse.js/dist/converse.min.js';

const { AUTHFAIL, CONNECTED, CONNFAIL, ERROR } = converse.env.Strophe.Status;

converse.plugins.add('login', {
    initialize() {
        const { api } = this._converse;
        const output = document.querySelector('output');
        let wasIn = false;

        api.listen.on('connfeedback', (feedback) => {
            const status = feedback.get('connection_status');
            if ([AUTHFAIL, CONNFAIL, ERROR].includes(status)) output.textContent = feedback.get('message');
            if (status !== CONNECTED) return;
            output.textContent = '';
            // After a refusal it takes the first login for one that comes back, and leaves out half of what it has to do.
            if (!wasIn) api.connection.get().reconnecting = false;
            wasIn = true;
        });

        // It has given up, as it does where no mechanism is offered that both know. It may say so more than once.
        api.listen.on('disconnected', () => {
            if (output.querySelector('button')) return;
            const again = document.createElement('button');
            again.textContent = 'Try again';
            again.onclick = () => location.reload();
            output.append(' ', again);
        });
    },
});
