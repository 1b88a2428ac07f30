#!/bin/sh
# Tests the relay with real servers in Docker: installs as root what is missing of Docker, starts an engine if none runs,
# makes the base image where no registry can be reached, and runs the Go tests of this directory. Arguments go to `go test`.
#
# An engine that it starts keeps its images in /var/lib/gatehouse-test, so that the next run need not make them again.
set -eu
cd "$(dirname "$0")"

# One run at a time: there is one project, and one place for images.
if [ "${GATEHOUSE_DOCKER_LOCK-}" != held ]; then
	exec env GATEHOUSE_DOCKER_LOCK=held flock --exclusive "${TMPDIR:-/tmp}/gatehouse-docker.lock" ./run.sh "$@"
fi

work=$(mktemp -d)
. ../../scripts/docker-base.sh
cleanup() {
	status=$?
	docker_stop
	rm -rf "$work"
	exit $status
}
trap cleanup EXIT
trap 'exit 1' INT TERM

missing=
command -v docker >/dev/null && { docker_answers || command -v dockerd >/dev/null; } || missing="docker.io"
docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null || missing="$missing docker-compose"
command -v debootstrap >/dev/null || missing="$missing debootstrap"
# shellcheck disable=SC2086 # the list is meant to be split
../../scripts/test-deps.sh $missing

DOCKER_DATA=/var/lib/gatehouse-test docker_start
docker_debian
go vet ./...
go test -count=1 -timeout 20m "$@" ./...
