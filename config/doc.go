// Package config turns Prosody's config file into one typed, validated, immutable value.
package config
