package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// loader is one Load. It collects what is wrong and goes on as long as that makes sense, so that everything is reported
// at once.
type loader struct {
	eval     *luaconf.Result
	dir      string // of the config file
	problems []Problem
	warnings []Problem
	index    certIndex
	sources  *sources
}

// Load reads the config file at path and everything that it includes.
//
// Any error is an *Error with all the problems found, and the Sources to watch until it is mended. The warnings are about
// what works, but perhaps not as meant; they come with and without an error. When the error is not nil the Config is nil,
// unless the file could be evaluated: then it holds Path, Files, Sources, DataDir and what Dump needs, and no more.
//
// Sources hold what the files were like before they were read: give them to Watcher.Watch, whatever Load returned, and no
// change is lost in between.
//
// Load has no side effects. It reads files and looks for the script, but starts and creates nothing, and takes at most
// about two seconds plus what the file system takes.
func Load(path string) (*Config, []Problem, error) {
	eval, err := luaconf.Eval(path)
	l := &loader{eval: eval, sources: newSources()}
	l.sources.evaluated(eval)
	for _, w := range eval.Warnings {
		l.warnings = append(l.warnings, Problem{Pos: w.Pos, Msg: w.Text})
	}
	if err != nil {
		var failed *luaconf.Error
		if errors.As(err, &failed) {
			return nil, l.warnings, l.failed([]Problem{{Pos: failed.Pos, Msg: failed.Text}})
		}
		return nil, l.warnings, l.failed([]Problem{{Pos: Pos{File: path}, Msg: err.Error()}})
	}
	c := &Config{Path: eval.Files[0], Files: eval.Files, eval: eval}
	l.dir = filepath.Dir(c.Path)
	l.checkNames()
	l.global(c)
	l.hosts(c)
	l.listen(c)
	l.webSocket(c)
	l.checkUpstreams(c)
	l.checkCredentials(c)
	warnings := sortProblems(l.warnings, eval.Files)
	c.Sources = l.sources.Sources
	if len(l.problems) > 0 {
		return &Config{Path: c.Path, Files: c.Files, Sources: c.Sources, DataDir: c.DataDir, eval: eval}, warnings, l.failed(sortProblems(l.problems, eval.Files))
	}
	return c, warnings, nil
}

func (l *loader) failed(problems []Problem) *Error { return &Error{problems, l.sources.Sources} }

// resolve makes a path of the config absolute: it is relative to the main config file.
func (l *loader) resolve(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(l.dir, path)
}

// global reads what is the same for all hosts.
func (l *loader) global(c *Config) {
	s := section{l, "*"}
	c.SelfSigned = s.bool("gatehouse_self_signed", false)
	c.DataDir = l.dataDir(s)
	c.CertificatesDir = l.certDir()
	c.Log = s.logSinks(c.DataDir)
	c.LogLevel = lowestLevel(c.Log)
	if name := "gatehouse_log_format"; s.has(name) {
		c.LogFormat = s.enum(name, "", LogFormatText, LogFormatJSON, LogFormatJournald)
	}
	c.Admin = s.admin()
	c.AuthAPI = s.authAPI(c.Admin)
	c.ExtauthSocket = s.extauthSocket(c.Admin)
	c.State = s.state()
	c.ShutdownTimeout = s.seconds("gatehouse_shutdown_timeout", 10*time.Second)
	c.LoginTimeout = s.period("c2s_timeout", 30*time.Second)
	c.UnauthedStanzaLimit = s.limit("c2s_unauthed_stanza_size_limit", 10000, 1000, 64<<10)
	c.StanzaLimit = s.limit("c2s_stanza_size_limit", 256<<10, 10000, 64<<20)
	c.Limits = s.limits()
	c.TCPKeepalives = s.bool("c2s_tcp_keepalives", s.bool("tcp_keepalives", true))
	c.Guard = s.guard()
	c.MinTLS, c.Certificates = l.portCertificates(s)
	c.ProxyProtocolFrom = s.networks("gatehouse_proxy_protocol_from")
	if slices.Contains(s.words("modules_disabled"), "c2s") {
		s.warn("modules_disabled", `"c2s" is disabled for Prosody; gatehouse listens for clients nevertheless`)
	}
}

// limit is a whole number that Prosody moves into its bounds instead of refusing it; so do we, with a warning.
func (s section) limit(name string, otherwise, low, high int) int {
	n := s.integer(name, otherwise, 0, 1<<40)
	switch {
	case n < low:
		s.warn(name, "%d is below %d, which is used instead", n, low)
		return low
	case n > high:
		s.warn(name, "%d is above %d, which is used instead", n, high)
		return high
	}
	return n
}

// dataDir returns an absolute path.
func (l *loader) dataDir(s section) string {
	if dir := s.string("gatehouse_data_dir", ""); dir != "" {
		return l.resolve(dir)
	} else if s.has("gatehouse_data_dir") {
		s.problem("gatehouse_data_dir", "is empty; it names a directory")
	}
	dir := DefaultDataDir()
	if dir == "" {
		s.problem("gatehouse_data_dir", "is missing, and there is no home directory to put the data in")
	}
	return dir
}

// DefaultDataDir is the data directory of a config that names none. It depends on the environment, as systemd.exec(5) and
// the XDG Base Directory Specification have it, and is empty if that says nothing.
func DefaultDataDir() string {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/gatehouse"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "gatehouse")
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".local/state/gatehouse")
	}
	return ""
}

const nothingToServe = `no VirtualHost has authentication = "external" or "token", so there is nothing to serve`

// hosts reads the virtual hosts.
func (l *loader) hosts(c *Config) {
	declared := 0
	failed := len(l.problems)
	for _, h := range l.eval.Hosts {
		if h.Name == "*" {
			continue
		}
		declared++
		s := section{l, h.Name}
		if why := l.skip(s, h); why != "" {
			c.Skipped = append(c.Skipped, SkippedHost{h.Name, why, h.Pos})
			continue
		}
		c.Hosts = append(c.Hosts, l.readHost(s, h))
	}
	switch {
	case len(c.Hosts) > 0 || len(l.problems) > failed:
	case declared == 0:
		l.problems = append(l.problems, Problem{Pos: Pos{File: c.Path},
			Msg: `there is no VirtualHost; write VirtualHost "example.org" with authentication = "external" or "token"`})
	default:
		// A file of Prosody's as it comes is a good file.
		l.warnings = append(l.warnings, Problem{Pos: Pos{File: c.Path}, Msg: nothingToServe})
	}
}

// The values of `authentication` that are ours.
const (
	authExternal         = "external"
	authExternalInsecure = "external_insecure"
	authToken            = "token"
)

// skip says why a host is not ours, or "".
func (l *loader) skip(s section, h *luaconf.Host) string {
	if h.Component {
		return "a Component"
	}
	if !s.bool("enabled", true) {
		return "enabled = false"
	}
	switch auth := s.string("authentication", "internal_hashed"); auth {
	case authExternal, authExternalInsecure, authToken:
		return ""
	default:
		for _, ours := range []string{authExternal, authExternalInsecure, authToken} {
			if editDistance(strings.ToLower(clip(auth)), ours) <= 1 {
				s.warn("authentication", "%q is left to Prosody, did you mean %q?", clip(auth), ours)
			}
		}
		return fmt.Sprintf("authentication = %q is left to Prosody", clip(auth))
	}
}
