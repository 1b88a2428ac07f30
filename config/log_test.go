package config

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

// sinksOf writes sinks as "to[:file] levels", separated by "; ".
func sinksOf(c *Config) string {
	var list []string
	for _, sink := range c.Log {
		to := sink.To
		if sink.File != "" {
			rel, err := filepath.Rel(filepath.Dir(c.Path), sink.File)
			if err != nil || !filepath.IsAbs(sink.File) {
				rel = "not absolute: " + sink.File
			}
			to += ":" + rel
		}
		list = append(list, to+" "+sink.Levels.String())
	}
	return strings.Join(list, "; ")
}

func TestLoad_log(t *testing.T) {
	const all = "debug, info, warn, error"
	tests := []struct {
		value, want string
		level       slog.Level
		warning     string
	}{
		{"nil", "console info, warn, error", slog.LevelInfo, ""},
		{"nil debug = true", "console " + all, slog.LevelDebug, ""},
		{"'*syslog'", "syslog " + all, slog.LevelDebug, ""},
		{"'*stdout'", "console " + all, slog.LevelDebug, ""},
		{"'x.log'", "file:data/x.log info, warn, error", slog.LevelInfo, ""},
		{"'x.log' debug = true", "file:data/x.log " + all, slog.LevelDebug, ""},
		{"'debug'", "file:data/debug info, warn, error", slog.LevelInfo, `"debug" is the name of a file here, as in Prosody; for a level write { debug = "*console" }`},
		{"{ error = 'e', info = '/i' }", "file:ABS/i info, warn, error; file:data/e error", slog.LevelInfo, ""},
		{"{ warn = '*console' } debug = true", "console warn, error", slog.LevelWarn, ""},
		{"{ error = 'a', '*console' }", "file:data/a error; console " + all, slog.LevelDebug, ""},
		{"{ info = 'a', error = 'a' }", "file:data/a info, warn, error; file:data/a error", slog.LevelInfo, ""},
		{"{ { to = 'console' } }", "console " + all, slog.LevelDebug, ""},
		{"{ { to = 'console', levels = { min = 'warn' } } }", "console warn, error", slog.LevelWarn, ""},
		{"{ { to = 'console', levels = { min = 'info', max = 'warn' } } }", "console info, warn", slog.LevelInfo, ""},
		{"{ { to = 'console', levels = { max = 'info' } } }", "console info", slog.LevelInfo, ""},
		{"{ { to = 'console', levels = { min = 'warn', max = 'info', 'error' } } }", "console info", slog.LevelInfo, ""},
		{"{ { to = 'console', levels = { min = 'warn', max = 'warn' } } }", "console warn, error", slog.LevelWarn, ""},
		{"{ { to = 'console', levels = { 'debug', 'error' } } }", "console debug, error", slog.LevelDebug, ""},
		{"{ { to = 'console', levels = { min = 'error', 'info' } } }", "console info, error", slog.LevelInfo, ""},
		{"{ { to = 'file', filename = 'f', levels = 'warn' } }", "file:data/f warn", slog.LevelWarn, ""},
		{"{ { to = 'syslog', syslog_facility = 'auth', syslog_name = 'x', levels = { 'wurn' } } }", "syslog ", slog.LevelError, `there is no level "wurn"; the levels are debug, info, warn, error`},
		{"{ { to = 'json', filename = 'x' }, info = '*console' }", "console info, warn, error", slog.LevelInfo, `the sink "json" is left to Prosody`},
		{"'*json'", "console info, warn, error", slog.LevelInfo, `the sink "json" is left to Prosody`},
		{"{ '*nowhere' }", "nowhere " + all, slog.LevelError, ""},
		{"{}", "nowhere ", slog.LevelError, "is empty, so that nothing is logged"},
		{"{ 'a.log', warn = 5, trace = 'x' }", "console info, warn, error", slog.LevelInfo, `want a name after a star ("*console") or a table with the field "to", got "a.log"; it is not used`},
		{"{ '*json' } gatehouse_log = { warn = '*syslog' }", "syslog warn, error", slog.LevelWarn, ""},
	}
	for _, test := range tests {
		c, warnings, problems := load(t, "gatehouse_data_dir = 'data' log = "+test.value+"\n"+external)
		if problems != "" {
			t.Errorf("%s: %s", test.value, problems)
			continue
		}
		want := test.want
		if strings.Contains(want, "ABS/i") {
			rel, _ := filepath.Rel(filepath.Dir(c.Path), "/i")
			want = strings.ReplaceAll(want, "ABS/i", rel)
		}
		if got := sinksOf(c); got != want || c.LogLevel != test.level {
			t.Errorf("%s:\ngot  %s, %v\nwant %s, %v", test.value, got, c.LogLevel, want, test.level)
		}
		if test.warning != "" {
			test.warning = "prosody.cfg.lua:1: log: " + test.warning
		}
		if !matches(warnings, test.warning) {
			t.Errorf("%s: warnings %q, want %q", test.value, warnings, test.warning)
		}
	}
}

func TestLoad_logProblems(t *testing.T) {
	for source, want := range map[string]string{
		"log = 5":                   "log: want a string or a table, got 5",
		"log = { { to = 'file' } }": "log: a sink to a file needs a filename",
		"log = '*file'":             "log: a sink to a file needs a filename",
		"log = { { to = 'file', filename = 'a\\0b' } }":    "log: a filename holds a NUL character, which no path can",
		"log = { { to = 'console', levels = 5 } }":         `log: levels: want the name of a level or a table such as { min = "info" }, got 5`,
		"gatehouse_log = '*json'":                          `gatehouse_log: there is no sink "json"; there are "file", "console", "syslog", "nowhere"`,
		"gatehouse_log_format = 'xml'":                     `gatehouse_log_format: want "text" or "json" or "journald", got "xml"`,
		"gatehouse_shutdown_timeout = 0":                   "gatehouse_shutdown_timeout: want a positive number of seconds, got 0",
		"gatehouse_shutdown_timeout = 'whenever it suits'": `gatehouse_shutdown_timeout: want a positive number of seconds, got "whenever it suits"`,
	} {
		if _, _, problems := load(t, source+"\n"+external); problems != "prosody.cfg.lua:1: "+want {
			t.Errorf("%s: %s", source, problems)
		}
	}
}

func TestLevelSet_Has(t *testing.T) {
	set := levelsFrom("info")
	for level, want := range map[slog.Level]bool{
		slog.LevelDebug - 4: false, slog.LevelDebug: false, slog.LevelDebug + 3: false, slog.LevelInfo: true,
		slog.LevelInfo + 2: true, slog.LevelWarn: true, slog.LevelError: true, slog.LevelError + 8: true,
	} {
		if set.Has(level) != want {
			t.Errorf("%v: %v", level, !want)
		}
	}
	if got := LevelSet(0).Lowest(); got <= slog.LevelError {
		t.Errorf("the lowest level of nothing is %v", got)
	}
}

func TestLoad_admin(t *testing.T) {
	long := strings.Repeat("x", 110)
	tests := []struct{ value, want, problem string }{
		{"nil", "", ""},
		{"{}", "", ""},
		{"'127.0.0.1:5280'", "tcp 127.0.0.1:5280", ""},
		{"'localhost:0'", "tcp 127.0.0.1:0", ""},
		{"{ '[::1]:5280', '127.1.2.3:80', '[::ffff:127.0.0.1]:5', '127.0.0.1:5' }", "tcp [::1]:5280, tcp 127.1.2.3:80, tcp 127.0.0.1:5", ""},
		{"{ './a.sock', '/run/x/a.sock', 'b/c' }", "unix DIR/a.sock, unix /run/x/a.sock, unix DIR/b/c", ""},
		{"'0.0.0.0:5280'", "", `"0.0.0.0:5280" can be reached from other machines, and whoever reaches it sees who logs in; use 127.0.0.1 or [::1], and put a reverse proxy with a password in front`},
		{"':5280'", "", `":5280" can be reached from other machines`},
		{"'*:5280'", "", `"*:5280" can be reached from other machines`},
		{"'192.0.2.1:5280'", "", `"192.0.2.1:5280" can be reached from other machines`},
		{"'[2001:db8::1]:5280'", "", `"[2001:db8::1]:5280" can be reached from other machines`},
		{"'status.example:5280'", "", `"status.example:5280" has a host name that may mean any machine; use 127.0.0.1 or [::1]`},
		{"'127.0.0.1'", "", `"127.0.0.1" has no port; want a loopback address with a port`},
		{"'::1'", "", `"::1" has no port`},
		{"'[::1]'", "", `"[::1]" has no port`},
		{"5280", "", `"5280" is no address`},
		{"''", "", `"" is no address`},
		{"'admin.sock'", "", `"admin.sock" is no address`},
		{"'127.0.0.1:http'", "", `"127.0.0.1:http" has no port number from 0 to 65535`},
		{"'127.0.0.1:+80'", "", `"127.0.0.1:+80" has no port number`},
		{"'127.0.0.1:65536'", "", `"127.0.0.1:65536" has no port number`},
		{"'/run/gatehouse/'", "", `"/run/gatehouse/" is a directory`},
		{"'/" + long + "'", "", `is too long for a socket: 111 bytes as an absolute path, and the system takes 107`},
		{"'/a\\0b'", "", `holds a NUL character`},
		{"true", "", `want strings, got true`},
		{"{ a = '127.0.0.1:5280' }", "", `want a list, got a table with the key "a"`},
	}
	for _, test := range tests {
		c, _, problems := load(t, "gatehouse_admin = "+test.value+"\n"+external)
		if test.problem != "" {
			if !strings.HasPrefix(problems, "prosody.cfg.lua:1: gatehouse_admin: ") || !strings.Contains(problems, test.problem) {
				t.Errorf("%s: %q, want %q", test.value, problems, test.problem)
			}
			continue
		}
		if problems != "" {
			t.Errorf("%s: %s", test.value, problems)
			continue
		}
		var got []string
		for _, at := range c.Admin {
			got = append(got, fmt.Sprintf("%s %s", at.Network, strings.Replace(at.Addr, filepath.Dir(c.Path), "DIR", 1)))
		}
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("%s: got %s, want %s", test.value, got, test.want)
		}
	}
}
