package docker

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// What TestMain makes for all tests.
var (
	servers *stack
	trust   *tls.Config // trusts the certificates of all hosts
	caFile  string
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "gatehouse-docker-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := prepare(dir); err != nil {
		return 0, err
	}
	servers = newStack(dir)
	defer func() {
		if code != 0 || err != nil {
			fmt.Fprintln(os.Stderr, servers.logs())
		}
		if downErr := servers.down(); err == nil {
			err = downErr
		}
	}()
	if err := servers.up(); err != nil {
		return 0, err
	}
	if err := register(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// prepare fills the directory that compose.yaml calls GATEHOUSE_TEST.
func prepare(dir string) error {
	for name, mode := range map[string]os.FileMode{"bin": 0o755, "certs": 0o755, "run": 0o777} {
		if err := os.Mkdir(filepath.Join(dir, name), mode); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil { // whatever the umask is
			return err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "gatehouse"), "./cmd/gatehouse")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", build, err, text)
	}
	if err := os.CopyFS(filepath.Join(dir, "prosody-modules"), os.DirFS("../../prosody")); err != nil {
		return err
	}
	return certify(filepath.Join(dir, "certs"))
}

// certify makes certificates for all hosts, in the forms that the servers look for. All containers run as somebody else,
// so that everybody may read the keys.
func certify(dir string) error {
	ca, err := xmpptest.NewCA()
	if err != nil {
		return err
	}
	trust, caFile = ca.ClientConfig(), filepath.Join(dir, "ca.crt")
	files := map[string][]byte{"ca.crt": ca.PEM()}
	for _, h := range hosts {
		pair, err := ca.Issue(xmpptest.ECDSA, h.name)
		if err != nil {
			return err
		}
		files[h.name+".crt"], files[h.name+".key"] = pair.CertPEM, pair.KeyPEM
		files[h.name+".pem"] = slices.Concat(pair.CertPEM, pair.KeyPEM)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
