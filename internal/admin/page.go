package admin

import (
	"crypto/sha256"
	_ "embed" // page.html
	"encoding/base64"
	"net/http"
	"strings"
)

// page is the status page. It is one file, holds its own script and style, and loads nothing but /status.json.
//
//go:embed page.html
var page string

// pagePolicy allows the page its own script and style, by their hashes, the request for the numbers, and its icon; no
// script may turn text into markup.
var pagePolicy = strings.Join([]string{
	"default-src 'none'",
	"script-src " + hashOf("script"),
	"style-src " + hashOf("style"),
	"connect-src 'self'",
	"img-src data:",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
	"require-trusted-types-for 'script'",
	"trusted-types 'none'",
}, "; ")

// hashOf returns the hash of the page's one element of that name, as a policy has it (CSP Level 3 §2.3.1).
func hashOf(element string) string {
	_, rest, _ := strings.Cut(page, "<"+element+">")
	content, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(page))
}
