package main

import "testing"

func TestPublic(t *testing.T) {
	const text = "/etc/x:3: host a: worker 2: died (exit status 1 after 4ms); stderr: db password is hunter2 | end\n/etc/x:9: host b: no such file"
	const want = "/etc/x:3: host a: worker 2: died (exit status 1 after 4ms); the log has what it wrote to standard error\n/etc/x:9: host b: no such file"
	if got := public(text); got != want {
		t.Errorf("got %q", got)
	}
}

func TestScriptName(t *testing.T) {
	got := scriptName([]string{"/usr/bin/php", "-f", "/etc/auth.php", "hunter2"})
	if want := "/usr/bin/php … /etc/auth.php …"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
