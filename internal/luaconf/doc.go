// Package luaconf runs a Prosody config file and says what it holds.
package luaconf
