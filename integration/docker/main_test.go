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
			text, logsErr := servers.logs()
			fmt.Fprintln(os.Stderr, text, logsErr)
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
	for name, mode := range map[string]os.FileMode{"bin": 0o755, "certs": 0o755, "keys": 0o755, "run": 0o777} {
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
	if err := certify(filepath.Join(dir, "certs")); err != nil {
		return err
	}
	return certifyUsers(filepath.Join(dir, "certs", "users.crt"), filepath.Join(dir, "keys", "users.key"))
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
	for _, h := range append(slices.Clone(hosts), proxied, both) {
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

// certifyUsers makes the authority for users as docs/relay-external.md has it made.
func certifyUsers(certificate, key string) error {
	openssl := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
		"-subj", "/CN=gatehouse logins", "-addext", "keyUsage=critical,keyCertSign", "-out", certificate, "-keyout", key)
	if text, err := openssl.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", openssl, err, text)
	}
	for _, name := range []string{certificate, key} {
		if err := os.Chmod(name, 0o644); err != nil {
			return err
		}
	}
	return nil
}
