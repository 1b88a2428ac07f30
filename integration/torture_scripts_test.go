package integration

import (
	"maps"
	"strings"
	"syscall"
	"time"
)

// scriptFaults are what scripts do wrong.
func scriptFaults() []fault {
	// misbehaves is a script that does something else with one query in so many, while the fault lasts.
	misbehaves := func(name string, every int, actions ...any) fault {
		return fault{name: name, spares: tokensSpared, strikes: true,
			prepare: func(r *rig) {
				r.rules = []any{map[string]any{"every": every, "while": r.trigger, "do": actions}}
			},
			begin: (*rig).pull,
		}
	}
	harmless := func(f fault) fault {
		f.spares, f.strikes = everybodySpared, false
		return f
	}
	return []fault{
		{name: "script killed with SIGKILL, again and again", spares: tokensSpared, strikes: true,
			prepare: func(r *rig) { // so that it has a question when it is killed
				r.rules = []any{map[string]any{"while": r.trigger, "do": []any{do("sleep", 0.02), do("answer", true)}}}
			},
			begin: func(r *rig) (end func()) {
				answer, stop := r.pull(), r.again(100*time.Millisecond, r.killScripts)
				return func() {
					stop()
					answer()
				}
			}},
		{name: "script stopped with SIGSTOP", spares: tokensSpared, strikes: true, begin: func(r *rig) (end func()) {
			for _, pid := range r.processes() {
				_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended
			}
			return func() {}
		}},
		misbehaves("script hangs", 16),
		misbehaves("script answers late", 16, do("sleep", 1.2), do("answer", true)),
		// The first answer is right in all of these: it is the script that is to blame for a wrong one.
		misbehaves("script answers twice at once", 8, do("double", true)),
		misbehaves("script answers twice, yes the second time", 8, do("answer", true), do("write_hex", "{yes}")),
		misbehaves("script answers again later", 8, do("answer", true), do("sleep", 0.03), do("write_hex", "{yes}")),
		misbehaves("script answers with garbage", 8, do("write", "yes?\x00\xff\n")),
		misbehaves("script answers, and floods", 8, do("answer", true), do("write", strings.Repeat("1\n", 40000))),
		misbehaves("script gives half an answer", 8, do("write_hex", "{half}")),
		misbehaves("script dies in the middle of an answer", 8, do("write_hex", "{half}"), do("exit", 1)),
		misbehaves("script echoes the query", 8, do("echo", true), do("answer", true)),
		misbehaves("script forks, and its child stays", 8, do("fork", true), do("exit", 0)),
		harmless(misbehaves("script fills stderr", 10, do("stderr", strings.Repeat("Traceback: 1\n", 20000)), do("answer", true))),
		{name: "script leaks descriptors up to its limit", spares: tokensSpared, strikes: true,
			prepare: func(r *rig) {
				r.rules = []any{map[string]any{"while": r.trigger, "do": []any{do("leak", 16), do("answer", true)}}}
			},
			begin: func(r *rig) (end func()) {
				r.limit("-n 64")
				r.killScripts()
				return r.pull()
			},
		},
		{name: "script has no descriptors (ulimit -n 3)", spares: tokensSpared, strikes: true, begin: starved("-n 3")},
		{name: "script has no memory (ulimit -v 20000)", spares: tokensSpared, strikes: true, begin: starved("-v 20000")},
		{name: "script has no processor time (ulimit -t 0)", spares: tokensSpared, strikes: true, begin: starved("-t 0")},
	}
}

// starved is a limit that no script can live with.
func starved(limit string) func(*rig) (end func()) {
	return func(r *rig) (end func()) {
		end = r.limit(limit)
		r.killScripts()
		return end
	}
}

// limit sets a limit for all processes of scripts that start from now on.
func (r *rig) limit(arguments string) (end func()) {
	path := r.trigger + ".limit"
	r.write(path, file{arguments, 0o644})
	return func() { r.remove(path) }
}

// again does something at once and then every so often.
func (r *rig) again(every time.Duration, do func()) (end func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			do()
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// translate puts the answers of a protocol into rules.
func translate(rules []any, protocol string) []any {
	translated := []any{}
	for _, r := range rules {
		rule := maps.Clone(r.(map[string]any))
		rule["do"] = inProtocol(protocol, rule["do"].([]any))
		translated = append(translated, rule)
	}
	return translated
}
