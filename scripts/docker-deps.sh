#!/bin/sh
# Sees to Docker for the tests with servers in containers, or says what to do, before the rest of the suite takes its time.
set -eu
cd "$(dirname "$0")/.."
. scripts/docker-base.sh
docker_deps
