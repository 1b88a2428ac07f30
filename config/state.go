package config

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// State is a Redis that keeps for several fronts which tokens have been used, and tickets (gatehouse_state). It is a client's
// view of a URL, in the forms that go-redis has for them.
type State struct {
	// Addresses are host:port, or one path of a unix socket: of the Redis, of its Sentinels, or of nodes of a Cluster.
	Addresses []string
	// Master is the name that the Sentinels know the Redis by (master_name); empty if they are none.
	Master string
	// Cluster says that it is a Cluster (cluster).
	Cluster bool
	// DB is the number of the database (the URL's path, or db).
	DB int
	// Username and Password may be empty.
	Username, Password                 string
	SentinelUsername, SentinelPassword string
	// TLS says that connections are encrypted (rediss). Trust are the authorities that may sign the certificate, and
	// TrustFile where they were read; nil and empty for those of the system (trust).
	TLS       bool
	Trust     *x509.CertPool
	TrustFile string
	// Prefix begins the names of all keys (prefix, "gatehouse").
	Prefix string
	// Durable says that a restart forgets nothing (durable).
	Durable bool
	// Pos is where it was set.
	Pos Pos
}

// String is the URL without what may be secret.
func (s State) String() string {
	kind := "Redis at "
	switch {
	case s.Master != "":
		kind = "Redis " + strconv.Quote(s.Master) + ", by the Sentinels at "
	case s.Cluster:
		kind = "Redis Cluster at "
	}
	text := kind + strings.Join(s.Addresses, ", ")
	if s.TLS {
		text += ", over TLS"
	}
	return text
}

// LogValue keeps the passwords out of logs.
func (s State) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Format keeps the passwords out of all else.
func (s State) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// Equal says whether two are the same Redis, asked in the same way; nil is none.
func (s *State) Equal(o *State) bool {
	if s == nil || o == nil {
		return s == o
	}
	return slices.Equal(s.Addresses, o.Addresses) && s.Master == o.Master && s.Cluster == o.Cluster && s.DB == o.DB &&
		s.Username == o.Username && s.Password == o.Password &&
		s.SentinelUsername == o.SentinelUsername && s.SentinelPassword == o.SentinelPassword &&
		s.TLS == o.TLS && s.Trust.Equal(o.Trust) && s.Prefix == o.Prefix && s.Durable == o.Durable
}

// nameState is the option. Its value may hold passwords, so that no message shows a part of it.
const nameState = "gatehouse_state"

const stateForms = `want "redis://user:password@host:6379/0", "rediss://..." for TLS or "unix:///path/of/redis.sock"; "?master_name=..." for Sentinels, "?cluster=true" for a Cluster`

// state reads it; nil without it, or with false.
func (s section) state() *State {
	if v, ok := s.lookup(nameState); !ok || v.Value.Kind == luaconf.Bool && !v.Value.Bool {
		return nil
	}
	text := s.string(nameState, "")
	u, err := url.Parse(text)
	if err != nil {
		s.problem(nameState, "is no URL; %s", stateForms) // the error would show it
		return nil
	}
	st := &State{Pos: s.pos(nameState), Prefix: "gatehouse", TLS: u.Scheme == "rediss", Username: u.User.Username()}
	st.Password, _ = u.User.Password()
	why := st.place(u)
	if why == "" {
		why = s.stateQuery(st, u.RawQuery)
	}
	if why != "" {
		s.problem(nameState, "%s", why)
		return nil
	}
	if !st.TLS && !st.local() {
		s.warn(nameState, "the way to Redis leaves this machine without TLS: who stands in it may have tokens accepted twice; rediss:// has TLS")
	}
	return st
}

// place reads where the Redis is, or says what is wrong.
func (st *State) place(u *url.URL) (why string) {
	switch u.Scheme {
	case "redis", "rediss":
		at, why := stateAddress(u.Host)
		if why != "" {
			return why
		}
		st.Addresses = []string{at}
		if db := strings.Trim(u.Path, "/"); db != "" {
			return st.number(db)
		}
	case "unix":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return "has no absolute path of a socket; " + stateForms
		}
		st.Addresses = []string{u.Path}
	default:
		return "is no URL of a Redis; " + stateForms
	}
	return ""
}

func (st *State) number(text string) (why string) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "the number of the database is none from 0 to 65535"
	}
	st.DB = int(n)
	return ""
}

// stateAddress completes a host with the port.
func stateAddress(host string) (at, why string) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), "6379"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "a port is no number from 1 to 65535"
	}
	if name = strings.ToLower(name); !hostName(name) {
		return "", "has no good host name; " + stateForms
	}
	return net.JoinHostPort(name, port), ""
}

// maxStateAddresses bounds Sentinels and nodes.
const maxStateAddresses = 64

var statePrefix = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

// stateQuery reads what stands behind the question mark, or says what is wrong.
func (s section) stateQuery(st *State, raw string) (why string) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return "what is behind its question mark cannot be read"
	}
	known := []string{"addr", "cluster", "db", "durable", "master_name", "prefix", "sentinel_password", "sentinel_username", "trust"}
	for name, values := range query {
		switch {
		case !slices.Contains(known, name):
			return "what is behind its question mark has names that gatehouse does not know; it knows " + strings.Join(known, ", ")
		case len(values) > 1 && name != "addr":
			return name + " is there twice"
		}
	}
	st.Master = query.Get("master_name")
	st.SentinelUsername, st.SentinelPassword = query.Get("sentinel_username"), query.Get("sentinel_password")
	for name, at := range map[string]*bool{"cluster": &st.Cluster, "durable": &st.Durable} {
		if query.Has(name) {
			if *at, err = strconv.ParseBool(query.Get(name)); err != nil {
				return name + " is neither true nor false"
			}
		}
	}
	if query.Has("db") {
		if why := st.number(query.Get("db")); why != "" {
			return why
		}
	}
	if query.Has("prefix") {
		if st.Prefix = query.Get("prefix"); !statePrefix.MatchString(st.Prefix) {
			return "prefix has other characters than letters, digits and _.:-, or more than 64"
		}
	}
	for _, host := range query["addr"] {
		at, why := stateAddress(host)
		if why != "" {
			return "addr: " + why
		}
		st.Addresses = append(st.Addresses, at)
	}
	if query.Has("trust") {
		if why := s.stateTrust(st, query.Get("trust")); why != "" {
			return why
		}
	}
	return st.fits()
}

// stateTrust reads the authorities that the certificate may be from.
func (s section) stateTrust(st *State, file string) (why string) {
	if !st.TLS || file == "" {
		return "trust names a file of certificates, and goes with rediss://"
	}
	st.TrustFile = s.resolve(file)
	s.sources.file(st.TrustFile)
	data, err := readPEM(st.TrustFile)
	if err != nil {
		return fmt.Sprintf("trust: %v", err)
	}
	st.Trust = x509.NewCertPool()
	if !st.Trust.AppendCertsFromPEM(data) {
		return fmt.Sprintf("trust: %s: no certificate in it, in PEM (-----BEGIN CERTIFICATE-----)", st.TrustFile)
	}
	return ""
}

// fits says what does not go together.
func (st *State) fits() (why string) {
	socket := filepath.IsAbs(st.Addresses[0])
	switch {
	case len(st.Addresses) > maxStateAddresses:
		return fmt.Sprintf("has %d addresses, and %d are the most", len(st.Addresses), maxStateAddresses)
	case st.Cluster && st.Master != "":
		return "cluster and master_name exclude each other"
	case socket && (st.Cluster || st.Master != "" || len(st.Addresses) > 1):
		return "a unix socket is one Redis"
	case len(st.Addresses) > 1 && !st.Cluster && st.Master == "":
		return "several addresses are Sentinels, with master_name, or a Cluster, with cluster=true"
	case st.Master == "" && (st.SentinelUsername != "" || st.SentinelPassword != ""):
		return "sentinel_username and sentinel_password go with master_name"
	case st.Cluster && st.DB != 0:
		return "a Cluster has no databases but 0"
	case st.Durable && (st.Cluster || st.Master != ""):
		return "durable is for a Redis alone: when another takes over, it may lack the last writes"
	}
	return ""
}

// local says that what goes there does not leave this machine.
func (st *State) local() bool {
	return !slices.ContainsFunc(st.Addresses, func(at string) bool {
		ap, err := netip.ParseAddrPort(at)
		return !filepath.IsAbs(at) && !strings.HasPrefix(at, "localhost:") && (err != nil || !ap.Addr().IsLoopback())
	})
}
