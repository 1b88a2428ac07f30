package main

import (
	"encoding/json"
	"fmt"

	"gatehouse.im/gatehouse/config"
)

// ConfigCmd groups what shows a config.
type ConfigCmd struct {
	Dump ConfigDumpCmd `cmd:"" help:"Print every option of every host, as Prosody's configmanager would hold them."`
}

// ConfigDumpCmd prints a config as JSON.
type ConfigDumpCmd struct {
	Config  string `help:"Prosody's config file; ${default} without this." short:"c" default:"/etc/prosody/prosody.cfg.lua" placeholder:"FILE"`
	JSON    bool   `help:"As JSON, {host: {option: value}}; \"*\" is global. There is no other form yet." name:"json" default:"true" negatable:""`
	Secrets bool   `help:"Show secrets instead of \"[redacted]\"."`
}

// Run implements the command.
func (cmd *ConfigDumpCmd) Run(g *globals) error {
	if !cmd.JSON {
		return exit(exitUsage, "config dump has no other form than --json")
	}
	// A file that gatehouse cannot serve can be dumped as well, if it is Lua.
	cfg, _, err := config.Load(cmd.Config)
	if cfg == nil {
		return exit(exitConfig, "%w", err)
	}
	enc := json.NewEncoder(g.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(cfg.Dump(!cmd.Secrets))
}

// load reads a config for a command; what it warns of goes to standard error.
func load(path string, g *globals) (*config.Config, error) {
	cfg, warnings, err := config.Load(path)
	if err != nil {
		return nil, exit(exitConfig, "%w", err)
	}
	for _, w := range warnings {
		fmt.Fprintln(g.Stderr, "warning:", w)
	}
	return cfg, nil
}
