// Package systemd tests the Debian package with the systemd of Debian 12, which is older than Type=notify-reload, and of
// Debian 13: in containers whose first process it is (machine/), with a client outside of them.
//
//   - machine_test.go boots them and runs commands there, as root does.
//   - package_test.go installs, upgrades, removes and purges the package, each on a machine where it never was.
//   - The other files are about the service. They share a machine of each release, on which the package is installed and
//     nothing else may be taken for granted: each test sets the service up and stops it. The machines work side by side.
package systemd
