#!/usr/bin/env node
// Mints the token with which a user of your web application logs in to the chat, once and within 30 seconds.

import { createHmac, randomInt } from 'node:crypto';
import { pathToFileURL } from 'node:url';

/** Returns a token for user@host. The user is as in the JID: lower case, and never two people's. */
export function mint(user, host, secret, otpSeed, now = Date.now() / 1000) {
    const otp = totp(otpSeed, now);
    const nonce = Array.from({ length: 32 }, () => randomInt(10)).join('');
    const signature = createHmac('sha256', secret).update(`${otp}${nonce}${user}@${host}`).digest('base64');
    return `${otp}${nonce} ${signature}`;
}

/** Returns the one-time password of RFC 6238: SHA-1, 30 seconds, 8 digits. */
function totp(otpSeed, now) {
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(Math.floor(now / 30)));
    const mac = createHmac('sha1', base32(otpSeed)).update(counter).digest();
    const number = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff;
    return String(number % 1e8).padStart(8, '0');
}

/** Decodes base32 (RFC 4648, section 6); bits at the end that make no byte are left out. */
function base32(text) {
    const bits = Array.from(text.replace(/=+$/, ''), (letter) => {
        const value = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter);
        if (value < 0) throw new Error('otp_seed is not base32');
        return value.toString(2).padStart(5, '0');
    }).join('');
    return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
    // For a shell: TOKEN_SECRET=... OTP_SEED=... mint.mjs USER HOST [UNIX-TIME]
    const [user, host, now] = process.argv.slice(2);
    console.log(mint(user, host, process.env.TOKEN_SECRET, process.env.OTP_SEED, now && Number(now)));
}
