package state

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/redistest"
)

// TestStore_cluster: a Cluster of one node has all that is different in one: slots, and being sent elsewhere.
func TestStore_cluster(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(redistest.FreePort(t)))
	s.Do(t, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	until(t, "the Cluster is complete", 10*time.Second, func() bool {
		return strings.Contains(fmt.Sprint(s.Do(t, "CLUSTER", "INFO")), "cluster_state:ok")
	})
	s.Aged(t, "gatehouse")
	store := open(t, s, func(c *Config) { c.Addresses, c.Cluster = []string{s.Addr}, true })
	id := newID()
	expectUse(t, "first", store, id, true, nil)
	expectUse(t, "second", store, id, false, nil)
	ticket, owner := newID(), newID()
	if err := store.Put(ticket, owner, 10*time.Second); err != nil && !errors.Is(err, ErrAway) {
		t.Error(err)
	}
	until(t, "the Redis was looked at", 3*time.Second, func() bool { return store.State() == nil })
	if err := store.Put(ticket, owner, 10*time.Second); err != nil {
		t.Error(err)
	}
	if good, err := store.Take(ticket, owner); !good || err != nil {
		t.Errorf("a ticket: %v, %v", good, err)
	}
	s.Kill()
	expectUse(t, "while it is away", store, newID(), false, ErrAway)
	s.Run(t)
	until(t, "it is asked again", 5*time.Second, func() bool {
		_, err := use(store, id)
		return errors.Is(err, ErrHeld)
	})
}

// TestStore_sentinel: after a replica has taken over, which may lack the last writes, tokens of before are held.
func TestStore_sentinel(t *testing.T) {
	t.Parallel()
	primary, replica := redistest.Start(t), redistest.Start(t)
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	replica.Do(t, "REPLICAOF", host, port)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor front %s %s 1\nsentinel down-after-milliseconds front 500\nsentinel failover-timeout front 3000\n", host, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := redistest.StartSentinel(t, conf)
	primary.Aged(t, "gatehouse")
	store := open(t, primary, func(c *Config) { c.Addresses, c.Master = []string{sentinel.Addr}, "front" })
	id := newID()
	expectUse(t, "first", store, id, true, nil)
	expectUse(t, "second", store, id, false, nil)
	until(t, "the Sentinel knows the replica", 15*time.Second, func() bool {
		return strings.Contains(fmt.Sprint(sentinel.Do(t, "SENTINEL", "REPLICAS", "front")), replica.Addr)
	})
	until(t, "the replica has all", 15*time.Second, func() bool {
		return replica.Client.Exists(t.Context(), "{gatehouse}:memory").Val() == 1
	})
	primary.Kill()
	expectUse(t, "without a primary", store, newID(), false, ErrAway)
	until(t, "the replica has taken over", 20*time.Second, func() bool {
		fresh, err := use(store, newID())
		if fresh {
			t.Fatal("a token of before was accepted")
		}
		return errors.Is(err, ErrHeld)
	})
	now := time.Now()
	if fresh, err := store.Use(newID(), now.Add(span+MaxSkew+time.Second), now); !fresh || err != nil {
		t.Errorf("a token that is good from now on: %v, %v", fresh, err)
	}
}

// TestStore_tls: the certificate is checked.
func TestStore_tls(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	files := map[string][]byte{"cert": certPEM, "key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := redistest.Start(t, "--tls-port", "0", "--tls-cert-file", filepath.Join(dir, "cert"), "--tls-key-file", filepath.Join(dir, "key"),
		"--tls-auth-clients", "no", "--tls-ca-cert-file", filepath.Join(dir, "cert"))
	port := redistest.FreePort(t)
	s.Do(t, "CONFIG", "SET", "tls-port", port)
	s.Aged(t, "gatehouse")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	trusted := func(c *Config) {
		c.Addresses, c.TLS = []string{fmt.Sprint("127.0.0.1:", port)}, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	expectUse(t, "a trusted certificate", open(t, s, trusted), newID(), true, nil)
	untrusted := func(c *Config) { trusted(c); c.TLS.RootCAs = x509.NewCertPool() }
	expectUse(t, "an untrusted certificate", open(t, s, untrusted), newID(), false, ErrAway)
	other := func(c *Config) { trusted(c); c.TLS.ServerName = "example.org" }
	expectUse(t, "another's certificate", open(t, s, other), newID(), false, ErrAway)
	plain := func(c *Config) { trusted(c); c.TLS = nil }
	expectUse(t, "no TLS", open(t, s, plain), newID(), false, ErrAway)
}
