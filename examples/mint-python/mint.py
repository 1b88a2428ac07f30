#!/usr/bin/env python3
"""Mints the token with which a user of your web application logs in to the chat, once and within 30 seconds."""

import base64
import hmac
import os
import secrets
import sys
import time


def mint(user, host, secret, otp_seed, now=None):
    """Returns a token for user@host. The user is as in the JID: lower case, and never two people's."""
    otp = totp(otp_seed, time.time() if now is None else now)
    nonce = f"{secrets.randbelow(10**32):032}"
    signed = f"{otp}{nonce}{user}@{host}"
    signature = hmac.digest(secret.encode(), signed.encode(), "sha256")
    return f"{otp}{nonce} {base64.b64encode(signature).decode()}"


def totp(otp_seed, now):
    """Returns the one-time password of RFC 6238: SHA-1, 30 seconds, 8 digits."""
    key = base64.b32decode(otp_seed + "=" * (-len(otp_seed) % 8))
    mac = hmac.digest(key, (int(now) // 30).to_bytes(8, "big"), "sha1")
    at = mac[-1] & 15
    return f"{(int.from_bytes(mac[at : at + 4], 'big') & 0x7FFFFFFF) % 10**8:08}"


if __name__ == "__main__":
    # For a shell: TOKEN_SECRET=... OTP_SEED=... mint.py USER HOST [UNIX-TIME]
    now = float(sys.argv[3]) if len(sys.argv) > 3 else None
    print(mint(sys.argv[1], sys.argv[2], os.environ["TOKEN_SECRET"], os.environ["OTP_SEED"], now))
