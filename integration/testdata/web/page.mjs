// Serves a web page of examples/ on loopback, opens it in a headless Chromium and does with it what standard input says.
//
// Usage: node page.mjs OPTIONS, where OPTIONS is a JSON object:
//
//   modules      directory of node_modules, made by install.sh
//   root         directory of the page
//   websocket    the address of the XMPP server, ws: or wss:
//   credentials  the address that gives {"jid": ..., "password": ...}; the page asks for it through the server here
//   port         where to serve the page; 0 or nothing for any
//
// The first line of the output is {"origin": ...}. Then each line of the input is a JSON array of a command and its
// arguments, and is answered by a line {"value": ...} or {"error": ...}:
//
//   open PATH, reload                    as a person does it; a URL is good for a path
//   until EXPRESSION SECONDS             waits for JavaScript to be true in the page
//   eval EXPRESSION                      JavaScript in the page
//   fill SELECTOR TEXT, press SELECTOR KEY, click SELECTOR
//   text SELECTOR                        what a person reads there
//   screenshot FILE
//   console                              what the console and failed requests said since the last call
//
// The browser and the server end with the input.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';
import { createInterface } from 'node:readline';

const options = JSON.parse(process.argv[2]);
const { chromium } = createRequire(join(options.modules, 'node_modules', '_'))('playwright-core');

const types = {
    '.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json', '.svg': 'image/svg+xml',
    '.wasm': 'application/wasm', '.woff2': 'font/woff2',
};

async function serve(path) {
    if (path === '/config.js') {
        const text = `export const websocket_url = ${JSON.stringify(options.websocket)};
            export const credentials_url = '/chat-credentials';`;
        return { status: 200, type: types['.js'], body: text };
    }
    if (path === '/chat-credentials') {
        const answer = await fetch(options.credentials);
        return { status: answer.status, type: types['.json'], body: await answer.text() };
    }
    const root = path.startsWith('/node_modules/') ? options.modules : options.root;
    return { status: 200, type: types[extname(path)] ?? 'application/octet-stream', body: await readFile(join(root, normalize(path))) };
}

const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const answer = await serve(pathname).catch((error) => ({ status: error.code === 'ENOENT' ? 404 : 502, type: 'text/plain', body: error.message }));
    response.writeHead(answer.status, { 'Content-Type': answer.type, 'Cache-Control': 'no-store' });
    response.end(answer.body);
});
await new Promise((done) => server.listen(options.port ?? 0, '127.0.0.1', done));
const origin = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    // The certificate is of a CA that lives as long as the test.
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--ignore-certificate-errors'],
});
const page = await browser.newPage({ viewport: { width: 1100, height: 700 } });
let said = [];
page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
page.on('pageerror', (error) => said.push(`exception: ${error.message}`));
page.on('requestfailed', (request) => said.push(`failed: ${request.url()}`));
page.on('request', (request) => {
    if (!request.url().startsWith(`${origin}/`) && !request.url().startsWith('data:')) said.push(`elsewhere: ${request.url()}`);
});

const commands = {
    open: async (path) => void (await page.goto(new URL(path, origin).href)),
    reload: async () => void (await page.reload()),
    until: async (expression, seconds) => void (await page.waitForFunction(expression, null, { timeout: seconds * 1000 })),
    eval: (expression) => page.evaluate(expression),
    fill: (selector, text) => page.fill(selector, text),
    press: (selector, key) => page.press(selector, key),
    click: (selector) => page.click(selector),
    text: (selector) => page.innerText(selector),
    screenshot: async (path) => void (await page.screenshot({ path })),
    console: () => said.splice(0),
};

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
print({ origin });
for await (const line of createInterface({ input: process.stdin })) {
    const [name, ...args] = JSON.parse(line);
    try {
        print({ value: (await commands[name](...args)) ?? null });
    } catch (error) {
        print({ error: `${name}: ${error.message}` });
    }
}
await browser.close();
server.close();
