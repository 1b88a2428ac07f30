package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// nginxSite is a site that has pages of its own, and passes the chat on by the lines of docs/web.md.
const nginxSite = `daemon off;
pid nginx.pid;
events {}
http {
	access_log off;
	client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; scgi_temp_path .; uwsgi_temp_path .;
	server {
		listen %s ssl;
		ssl_certificate %s;
		ssl_certificate_key %s;
		location / { proxy_pass %s; }
		%s
	}
}
`

// TestExamplesWeb_nginx: behind nginx, as docs/web.md sets it up, a page logs in where it is itself, without any origin that is
// allowed and without TLS in gatehouse, and gatehouse knows who the client is.
func TestExamplesWeb_nginx(t *testing.T) {
	t.Parallel()
	dir, ports := t.TempDir(), freePorts(t, 2)
	site, plain := loopback(ports[0]), loopback(ports[1])
	d := start(t, writeConfig(t, dir, []host{{"localhost", options{
		"authentication": "token", "token_secret": hostKeys.secret, "otp_seed": hostKeys.seed,
	}}}, baseOptions(dir), options{
		"modules_enabled": []any{"websocket"}, "http_ports": []any{ports[1]}, "http_interfaces": []any{"127.0.0.1"},
	}))
	app := startWebApplication(t, "alice@localhost")
	p := startWebPage(t, "web-converse", webOptions{WebSocket: wssURL(site), Credentials: app.url})

	ca, err := xmpptest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(xmpptest.ECDSA, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := pair.Write(dir, "site")
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "nginx.conf")
	location := strings.ReplaceAll(documented(t, "../docs/web.md", "/etc/nginx/gatehouse.conf"), "127.0.0.1:5290", plain)
	text := fmt.Sprintf(nginxSite, site, certificate, key, p.origin, location)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := newLogBuffer()
	nginx := exec.Command("nginx", "-p", dir, "-e", "stderr", "-c", conf)
	nginx.Stderr = log
	if err := nginx.Start(); err != nil {
		t.Fatalf("%v (the packages are in scripts/test-deps.sh)", err)
	}
	t.Cleanup(func() {
		_ = nginx.Process.Signal(os.Interrupt)
		if err := nginx.Wait(); err != nil || t.Failed() {
			t.Logf("nginx: %v\n%s", err, log)
		}
	})
	waitForPort(t, site)

	p.must(t, "open", "https://"+site+"/x-token.html")
	p.shows(t, chatPages[0].in)
	d.says(t, "login host=localhost user=alice mechanism=X-TOKEN remote=127.0.0.1:0 tls=proxy verdict=accepted", 1)
}

// documented is the block of a page that is the file at a path.
func documented(t testing.TB, page, path string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range readPage(page, string(text)).steps {
		if at, ok := step.mark("file"); ok && at == path {
			return step.text
		}
	}
	t.Fatalf("%s has no block for %s", page, path)
	return ""
}

// waitForPort waits until something listens at an address.
func waitForPort(t testing.TB, address string) {
	t.Helper()
	until(t, address+" takes connections", patience, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}
