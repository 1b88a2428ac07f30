// Where the XMPP server takes WebSockets, and where your web application answers {"jid": ..., "password": TOKEN} for the user of
// the session. Both are at the page's own host here.
export const websocket_url = `wss://${location.host}/xmpp-websocket`;
export const credentials_url = '/chat-credentials';
