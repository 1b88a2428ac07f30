package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"

	"gatehouse.im/gatehouse/config"
)

const (
	// maxConfigBytes is more than any file has that a config was loaded from.
	maxConfigBytes = 4 << 20
	// minSearched is the length below which a secret may stand in a file by
	// chance. Load warns of one so short.
	minSearched = 8
)

// checkFiles finds secrets in files that everybody may read, a data directory
// that everybody may write to, files that serve may not read, and those that
// somebody else may change: they name the scripts.
func (r *report) checkFiles(cfg *config.Config) {
	keys := secretsOf(cfg)
	err := r.who.may(cfg.DataDir, mayRead|mayWrite|mayRun)
	if err != nil && !r.who.self && !errors.Is(err, fs.ErrNotExist) {
		r.add(warning, config.Problem{Pos: config.Pos{File: cfg.Path}, Option: "gatehouse_data_dir", Msg: err.Error()})
	}
	if info, err := os.Stat(cfg.DataDir); err == nil && nobody.may(cfg.DataDir, mayWrite) == nil {
		r.add(danger, config.Problem{Pos: config.Pos{File: cfg.Path}, Option: "gatehouse_data_dir",
			Msg: "everybody on this machine may write to " + cfg.DataDir + " (" + mode(info) + "), and so make gatehouse forget which tokens were used; chmod 700 it"})
	}
	for _, path := range cfg.Files {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxConfigBytes {
			continue // looked for in vain, or nothing that is written by hand
		}
		if err := r.who.may(path, mayRead); err != nil && !r.who.self {
			r.add(warning, config.Problem{Pos: config.Pos{File: path}, Msg: err.Error() + ", so serve would refuse to start"})
		}
		if nobody.may(path, mayRead) != nil {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			continue // Load has read it, so this is a moment's trouble
		}
		for _, key := range keys {
			at := bytes.Index(text, key.value)
			if at < 0 {
				continue
			}
			r.add(danger, config.Problem{Pos: config.Pos{File: path, Line: 1 + bytes.Count(text[:at], []byte("\n"))}, Option: key.option,
				Msg: "everybody on this machine may read this file (" + mode(info) + "), and " + key.use + " in it; chmod 640 it, with the group of the server"})
			break // one finding a file is enough
		}
	}
}

func mode(info fs.FileInfo) string { return info.Mode().Perm().String()[1:] }

// secret is the value of an option as it stands in the file, and what somebody
// can do who knows it.
type secret struct {
	option, use string
	value       []byte
}

const (
	makeTokens   = "make tokens with the key"
	getTokens    = "get tokens for every user with the one"
	tryPasswords = "try passwords with the one"
)

var secretOptions = []secret{
	{option: "token_secret", use: makeTokens},
	{option: "otp_seed", use: makeTokens},
	{option: "gatehouse_upstream_token_secret", use: makeTokens},
	{option: "gatehouse_upstream_otp_seed", use: makeTokens},
	{option: "gatehouse_credentials_password", use: getTokens},
	{option: "gatehouse_credentials_bearer", use: getTokens},
	{option: "gatehouse_auth_api_password", use: tryPasswords},
}

func secretsOf(cfg *config.Config) []secret {
	var keys []secret
	raw := cfg.Dump(false)
	for _, section := range served(cfg) {
		for _, s := range secretOptions {
			list, ok := raw[section][s.option].([]any)
			if !ok {
				list = []any{raw[section][s.option]}
			}
			for _, v := range list {
				if text, ok := v.(string); ok && len(text) >= minSearched {
					keys = append(keys, secret{s.option, s.use, []byte(text)})
				}
			}
		}
	}
	return keys
}
