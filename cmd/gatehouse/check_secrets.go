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

// checkFiles finds keys of tokens in files that everybody may read, and files
// that serve may not.
func (r *report) checkFiles(cfg *config.Config) {
	keys := tokenKeys(cfg)
	err := r.who.may(cfg.DataDir, mayRead|mayWrite|mayRun)
	if err != nil && !r.who.self && !errors.Is(err, fs.ErrNotExist) {
		r.add(warning, config.Problem{Pos: config.Pos{File: cfg.Path}, Option: "gatehouse_data_dir", Msg: err.Error()})
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
				Msg: "everybody on this machine may read this file (" + mode(info) + "), and make tokens with the key in it; chmod 640 it, with the group of the server"})
			break // one finding a file is enough
		}
	}
}

func mode(info fs.FileInfo) string { return info.Mode().Perm().String()[1:] }

// tokenKey is a value of token_secret or otp_seed as it stands in the file.
type tokenKey struct {
	option string
	value  []byte
}

func tokenKeys(cfg *config.Config) []tokenKey {
	var keys []tokenKey
	raw := cfg.Dump(false)
	for _, section := range served(cfg) {
		for _, option := range []string{"token_secret", "otp_seed"} {
			list, ok := raw[section][option].([]any)
			if !ok {
				list = []any{raw[section][option]}
			}
			for _, v := range list {
				if text, ok := v.(string); ok && len(text) >= minSearched {
					keys = append(keys, tokenKey{option, []byte(text)})
				}
			}
		}
	}
	return keys
}
