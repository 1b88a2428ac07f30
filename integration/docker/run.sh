#!/bin/sh
# Tests in Docker the relay with real servers, the package with real systemds, and the image: installs as root what is missing
# of Docker, starts an engine if none runs, makes the base images where no registry can be reached, and runs the Go tests of
# this directory. Arguments go to `go test`.
#
# An engine that it starts keeps its images in /var/lib/gatehouse-test, so that the next run need not make them again.
set -eu
cd "$(dirname "$0")/../.."

# One run at a time: there is one project, and one place for images.
exec 9>"${TMPDIR:-/tmp}/gatehouse-docker-$(id -u).lock"
flock --exclusive --timeout 1800 9 || { echo "another run of these tests does not end" >&2; exit 1; }

work=$(mktemp -d)
beside= # what runs beside this
. scripts/docker-base.sh
cleanup() {
	status=$?
	[ -z "$beside" ] || end_process "$beside"
	docker_stop
	rm -rf "$work"
	exit $status
}
trap cleanup EXIT
trap 'exit 1' INT TERM

docker_deps
DOCKER_DATA=/var/lib/gatehouse-test DOCKER_RUN=/run/gatehouse-test
docker_start
docker_debian bookworm &
beside=$!
docker_debian trixie
wait "$beside"
cd integration/docker
go vet ./...
# Whoever a killed test leaves behind does not hold the lock. What only has to end some time runs side by side; the relay, which
# has to answer soon, by itself.
failed=
../../scripts/docker-test.sh 9>&- &
beside=$!
go test -count=1 -timeout 20m "$@" ./systemd 9>&- || failed=1
wait "$beside" || failed=1
beside=
go test -count=1 -timeout 20m "$@" . 9>&- || failed=1
[ -z "$failed" ]
