#!/bin/sh
socat TCP-LISTEN:5280,bind=127.0.0.1,reuseaddr,fork UNIX-CONNECT:/run/gatehouse/admin.sock &
exec prosody -F
