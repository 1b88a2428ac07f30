package main

import (
	"fmt"
	"path/filepath"

	"gatehouse.im/gatehouse/config"
)

// checkChangers finds files of the config that somebody else may change, and directories where he may add one: the config
// names the scripts. A directory is found once, however many files are in it.
func (r *report) checkChangers(cfg *config.Config) {
	found := make(map[string]bool)
	for _, path := range cfg.Files {
		steps, err := walk(path)
		if err != nil {
			continue // looked for in vain
		}
		if all := changers(steps); len(all) > 0 && !found[all[0].path] {
			found[all[0].path] = true
			l, text := all[0].problem(path, "file")
			r.add(l, config.Problem{Pos: config.Pos{File: path}, Msg: text})
		}
	}
	for _, pattern := range cfg.Sources.Patterns {
		dir := filepath.Dir(pattern)
		steps, err := walk(dir)
		if err != nil {
			continue
		}
		for _, x := range changers(steps) {
			if !found[x.path] {
				found[x.path] = true
				r.add(x.level(), config.Problem{Pos: config.Pos{File: cfg.Path},
					Msg: fmt.Sprintf("%s may write to %s (%s), and so add to the files that are read from %s; chmod go-w %[2]s", x.who(), x.path, x.step, dir)})
			}
		}
	}
}
