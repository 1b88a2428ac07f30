#!/usr/bin/env php
<?php
declare(strict_types=1);

// Mints the token with which a user of your web application logs in to the chat, once and within 30 seconds.

/** Returns a token for user@host. The user is as in the JID: lower case, and never two people's. */
function mint(string $user, string $host, string $secret, string $otp_seed, ?int $now = null): string
{
    $otp = totp($otp_seed, $now ?? time());
    $nonce = '';
    for ($i = 0; $i < 32; $i++) {
        $nonce .= random_int(0, 9);
    }
    $signature = hash_hmac('sha256', "$otp$nonce$user@$host", $secret, true);
    return "$otp$nonce " . base64_encode($signature);
}

/** Returns the one-time password of RFC 6238: SHA-1, 30 seconds, 8 digits. */
function totp(string $otp_seed, int $now): string
{
    $mac = hash_hmac('sha1', pack('J', intdiv($now, 30)), base32($otp_seed), true);
    $number = unpack('N', $mac, ord($mac[19]) & 15)[1] & 0x7fffffff;
    return str_pad((string) ($number % 100000000), 8, '0', STR_PAD_LEFT);
}

/** Decodes base32 (RFC 4648, section 6); bits at the end that make no byte are left out. */
function base32(string $text): string
{
    $bits = '';
    foreach (str_split(rtrim($text, '=')) as $letter) {
        $value = strpos('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', $letter);
        if ($value === false) {
            throw new InvalidArgumentException('otp_seed is not base32');
        }
        $bits .= sprintf('%05b', $value);
    }
    $bytes = str_split(substr($bits, 0, intdiv(strlen($bits), 8) * 8), 8);
    return implode('', array_map(fn ($byte) => chr(bindec($byte)), $bytes));
}

if (realpath($_SERVER['SCRIPT_FILENAME']) === __FILE__ && PHP_SAPI === 'cli') {
    // For a shell: TOKEN_SECRET=... OTP_SEED=... mint.php USER HOST [UNIX-TIME]
    $now = isset($argv[3]) ? (int) $argv[3] : null;
    echo mint($argv[1], $argv[2], getenv('TOKEN_SECRET'), getenv('OTP_SEED'), $now), "\n";
}
