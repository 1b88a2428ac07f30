package systemd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"gatehouse.im/gatehouse/integration/docker/engine"
	"gatehouse.im/gatehouse/internal/xmpptest"
)

// What TestMain makes for all tests.
var (
	fresh    []*machine // for tests of the package, which they install
	serving  []*machine // for tests of the service; the package is installed
	ca       *xmpptest.CA
	trust    *tls.Config // trusts the certificates of all hosts
	packages = map[string]string{older: "", newer: ""}
)

// The versions of the package that there are, of one program.
const older, newer = "1.0", "1.1"

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if ca, err = xmpptest.NewCA(); err != nil {
		return 0, err
	}
	trust = ca.ClientConfig()
	defer func() {
		for _, m := range append(fresh, serving...) {
			err = errors.Join(err, m.end())
		}
	}()
	if err := prepare(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// prepare builds the packages and boots the machines, all at once.
func prepare() error {
	built := make(chan error, 1)
	go func() { built <- build() }()
	releases := []string{"bookworm", "trixie"}
	fresh, serving = make([]*machine, len(releases)), make([]*machine, len(releases))
	errs := make([]error, len(releases))
	var booting sync.WaitGroup
	for i, release := range releases {
		booting.Go(func() {
			_, err := engine.Docker("build", "--quiet", "--network", "host", "--build-arg", "http_proxy", "--build-arg", "https_proxy",
				"--build-arg", "no_proxy", "--build-arg", "RELEASE="+release, "--tag", image(release), "machine")
			var first, second error
			fresh[i], serving[i] = &machine{}, &machine{}
			if err == nil {
				fresh[i], first = boot(release, "package")
				serving[i], second = boot(release, "service")
			}
			errs[i] = errors.Join(err, first, second)
		})
	}
	booting.Wait()
	if err := errors.Join(append(errs, <-built)...); err != nil {
		return err
	}
	for _, m := range append(fresh, serving...) {
		for version, deb := range packages {
			if _, err := engine.Docker("cp", deb, m.name+":"+inside(version)); err != nil {
				return err
			}
		}
	}
	for _, m := range serving {
		// Prosody has the port; its group stays.
		if _, err := m.run("systemctl disable --now prosody; apt-get install --quiet=2 " + inside(newer)); err != nil {
			return err
		}
	}
	return nil
}

// build makes the packages.
func build() error {
	for version := range packages {
		cmd := exec.Command("packaging/deb/build.sh")
		cmd.Dir = "../../.."
		cmd.Env = append(os.Environ(), "VERSION="+version)
		name, err := engine.Output(cmd)
		if err != nil {
			return err
		}
		packages[version] = filepath.Join(cmd.Dir, name)
	}
	return nil
}

// inside is where a machine has a version of the package.
func inside(version string) string { return "/root/gatehouse_" + version + ".deb" }

// image is what machines of a release are made of.
func image(release string) string {
	return "gatehouse-test-systemd-" + release
}
